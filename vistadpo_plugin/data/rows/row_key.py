"""By what a row is known: a name that changes with all that a model's numbers for the row depend on."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from vistadpo_plugin.data.rows.grounding import GroundedRow


def row_key(row: dict[str, Any], grounding: GroundedRow | None, mate: GroundedRow | None) -> str:
    """A hash of all that a model's numbers for this row depend on, the sizes and times of its files included."""
    files: list[str] = []
    for one in (grounding, mate):
        if one is not None:
            files += [one.video] if isinstance(one.video, str) else one.video
            files += [*one.clip_images, *one.clip_negative_images]
            files += [one.keyframe] if isinstance(one.keyframe, str) else []
    files += [path for media in ("images", "videos") for path in _paths(row[media])]
    columns = ("where", "grounded", "prompt", "images", "videos", "chosen_ids", "rejected_ids", "irrelevant_ids")
    parts = [repr(row[name]) for name in columns]
    parts.append("" if mate is None else mate.to_json())
    for path in files:
        status = os.stat(path)
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _paths(media: Any) -> list[str]:
    """Paths of a row's own images or videos (a video may be a list of images)."""
    if isinstance(media, str):
        return [media]
    if isinstance(media, dict):  # an image as the datasets library gives it
        return [media["path"]] if media.get("path") else []
    return [path for one in media or [] for path in _paths(one)]
