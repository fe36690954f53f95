"""What a row's scores on one view depend on, as a hash: the name under which they are known to another run.

Rows that differ, or whose files have changed, have other keys. A view that is drawn at random depends on the seed, one
of another row's video, or of a rejected one of the row's own, on that file: so runs of other seeds, or with other
rejected views, share all the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from typing import Any

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.processor import own_media
from vistadpo_plugin.data.rows.values import Video
from vistadpo_plugin.data.views.keys import TEMPORAL
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME,
    OWN,
    TERM_OF,
    ViewBuilder,
    negative_kind,
)

_MEDIA = ("images", "videos")
# Of a processed row; `where` draws noise and shuffles.
_COLUMNS = ("where", "grounded", "prompt", *_MEDIA, "chosen_ids", "rejected_ids", "irrelevant_ids")


def score_keys(
    row: dict[str, Any],
    grounding: GroundedRow | None,
    mate: GroundedRow | None,
    views: ViewBuilder,
    magnitude: int | None = None,
) -> dict[str, str]:
    """By view, a hash of all that the row's scores on it depend on, sizes and times of its files included.

    `magnitude` is that of temporal rejected views. Left out is what is the same for all rows: model, tokenizer,
    template, and how many frames a video gives.
    """
    row = {**row, **{media: own_media(row, media) or None for media in _MEDIA}}
    row = row if grounding is None else {**row, "grounded": _without_negatives(row["grounded"], grounding)}
    paths = [path for media in _MEDIA for path in _paths(row[media])]
    if grounding is not None:
        paths += [*_files(grounding.video), *grounding.clip_images, *grounding.clip_negative_images]
        paths += [grounding.keyframe] if isinstance(grounding.keyframe, str) else []
    more = [row[name] for name in ("more_rejected", "phrases") if row[name]]
    of_row = "\n".join([*(repr(row[name]) for name in _COLUMNS), *more, *_states(paths)])
    if grounding is None:
        return {FULL: _digest(of_row, FULL)}
    recipes = {FULL: "", KEYFRAME: "", CLIP: repr(views.view_keys.clip_frames)}
    for view in TERM_OF:
        recipe = _negative(view, grounding, mate, views, magnitude)
        if recipe is not None:
            recipes[view] = recipe
    return {view: _digest(of_row, view, recipe) for view, recipe in recipes.items()}


def _without_negatives(text: str, grounding: GroundedRow) -> str:
    """The row as JSON `text`, without what only one rejected view depends on, and whether that is looked at."""
    if not grounding.holds and not any(grounding.own_negatives(term) for term in TERM_OF.values()):
        return text
    rest = dataclasses.replace(grounding, rejected_videos=(), rejected_clips=(), rejected_keyframes=(), holds=())
    return rest.to_json()


def _negative(
    view: str, row: GroundedRow, mate: GroundedRow | None, views: ViewBuilder, magnitude: int | None
) -> str | None:
    """What a rejected view depends on beside its row, None where it would need a mate that the row has not."""
    kind = negative_kind(row, TERM_OF[view], views.view_keys)
    parts: list[Any] = [kind]
    if view == CLIP_NEGATIVE:
        parts.append(views.view_keys.clip_frames)
    if kind == OWN:
        parts += _states(_files(row.own_negatives(TERM_OF[view])[0]))
    elif kind == "other":
        if mate is None:
            return None
        parts += _states(_files(mate.video))
    elif kind in ("noise", "shuffle", "drop"):
        parts.append(views.seed)
    elif kind in ("mask", "move"):
        parts.append(views.view_keys.mask_fill)
    if kind in TEMPORAL and magnitude is not None:
        parts.append(magnitude)
    return repr(parts)


def _files(video: Video) -> list[str]:
    return [video] if isinstance(video, str) else list(video)


def _states(paths: Iterable[str]) -> list[str]:
    states = [(path, os.stat(path)) for path in paths]
    return [f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in states]


def _paths(media: Any) -> list[str]:
    """Paths of a row's own images or videos (a video may be a list of images)."""
    if isinstance(media, str):
        return [media]
    if isinstance(media, dict):  # an image as the datasets library gives it
        return [media["path"]] if media.get("path") else []
    return [path for one in media or [] for path in _paths(one)]


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=20).hexdigest()
