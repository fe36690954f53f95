"""A row as training sees it: the views its terms ask for, where each frame comes from, and why a term is off."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from vistadpo_plugin.arguments import TERMS
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import Row, RowError
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME,
    KEYFRAME_NEGATIVE,
    MADE_FROM,
    NO_MATE,
    TERM_OF,
    VIDEO_NEGATIVE,
    Origin,
    ViewBuilder,
    ViewRequest,
    missing_grounding,
    needs_mate,
    row_terms,
    term_views,
)

VIEWS = (FULL, VIDEO_NEGATIVE, CLIP, CLIP_NEGATIVE, KEYFRAME, KEYFRAME_NEGATIVE)
"""In the order in which they are shown: level by level, the preferred view first."""


SAME_FRAME = ("mask", "move")
"""Ways to make a rejected view that change the preferred view's frames and keep their order."""


@dataclass(frozen=True)
class ShownFrame:
    """A frame as the model's processor gets it. `index` counts a source's frames in presentation order, from 0.

    Noise and black frames have no place in the video: `index` and `seconds` are None.
    """

    image: Image.Image
    index: int | None
    seconds: float | None


@dataclass(frozen=True)
class ShownView:
    """A view. `origin` is what it was read from, or, where it was made from its preferred view (`made` says how, as
    in `vista_object_negative: mask`), what that was read from.
    """

    name: str
    frames: tuple[ShownFrame, ...]
    origin: Origin
    made: str | None = None


@dataclass(frozen=True)
class ShownRow:
    """A row with the views that its terms look at, and for each term it lacks, why."""

    row: Row
    grounded: GroundedRow
    mate: GroundedRow | None
    views: dict[str, ShownView]
    off: dict[str, str]


def show_row(builder: ViewBuilder, row: Row, grounded: GroundedRow, mate: GroundedRow | None) -> ShownRow:
    """Decode what training would decode of this row. Raises RowError when the row's own files cannot be read.

    A mate whose video cannot be read takes the terms that need it, as in training with `vista_on_bad_row: skip`.
    """
    try:
        return _show(builder, row, grounded, mate, NO_MATE)
    except RowError as error:
        if mate is None or error.where != mate.where:
            raise
        return _show(builder, row, grounded, None, f"the mate's video cannot be read: {error}")


def _show(builder: ViewBuilder, row: Row, grounded: GroundedRow, mate: GroundedRow | None, no_mate: str) -> ShownRow:
    view_keys = builder.view_keys
    terms = row_terms(grounded, mate is not None, view_keys)
    wanted = {view for term in terms for view in term_views(grounded, term, view_keys)}
    off = {term: _why_off(grounded, term, view_keys) or no_mate for term in TERMS if term not in terms}
    return ShownRow(row, grounded, mate, _views(builder, grounded, mate, wanted), off)


def _why_off(row: GroundedRow, term: str, view_keys: ViewKeys) -> str | None:
    """Why the term is off, or None when a mate is all it lacks."""
    if term not in view_keys.terms:
        return f"vista_{term}_weight is 0"
    reason = missing_grounding(row, term, view_keys)
    assert reason is not None or needs_mate(row, term, view_keys)
    return reason


def _views(builder: ViewBuilder, row: GroundedRow, mate: GroundedRow | None, wanted: set[str]) -> dict[str, ShownView]:
    (built,) = builder.build_all([ViewRequest(row, mate, wanted, builder.view_keys.magnitude(epoch=0))])
    for error in built.errors:
        raise error
    views = {}
    for name in sorted(built.views, key=VIEWS.index):
        frames = built.views[name]
        made = None if name in built.origins else builder.view_keys.negative(TERM_OF[name])
        origin = built.origins[name if made is None else MADE_FROM[name]]
        indices: list[int | None] = list(origin.indices)
        if made is not None and made not in SAME_FRAME:
            # Frames at other times are those of the preferred view; noise and black are no frames of the video.
            places = {id(image): index for image, index in zip(built.views[MADE_FROM[name]], indices, strict=True)}
            indices = [places.get(id(image)) for image in frames]
        shown = tuple(
            ShownFrame(image, index, None if index is None else float(origin.times[index]))
            for image, index in zip(frames, indices, strict=True)
        )
        views[name] = ShownView(name, shown, origin, made)
    return views
