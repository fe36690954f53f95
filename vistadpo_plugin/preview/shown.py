"""A row as training sees it: the views its terms ask for, where each frame comes from, and why a term is off."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from PIL import Image

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import Row, RowError
from vistadpo_plugin.data.video.video import FrameSource
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME,
    KEYFRAME_NEGATIVE,
    MADE_FROM,
    NO_MATE,
    VIDEO_NEGATIVE,
    Selector,
    ViewBuilder,
    missing_grounding,
    needs_mate,
    row_terms,
    term_views,
)

VIEWS = (FULL, VIDEO_NEGATIVE, CLIP, CLIP_NEGATIVE, KEYFRAME, KEYFRAME_NEGATIVE)
"""In the order in which they are shown: level by level, the preferred view first."""


SAME_FRAME = ("mask", "move")
"""Ways to make a rejected view that change the preferred view's frames and keep their order."""


def negative_kind(view: str, vista: VistaArguments) -> str:
    """What the recipe takes for this rejected view."""
    return {
        VIDEO_NEGATIVE: vista.vista_video_negative,
        CLIP_NEGATIVE: vista.vista_clip_negative,
        KEYFRAME_NEGATIVE: vista.vista_object_negative,
    }[view]


@dataclass(frozen=True)
class Origin:
    """What a view was read from: a file, the row that owns it, the times of all its frames (n,), and those taken."""

    owner: GroundedRow
    source: FrameSource
    times: np.ndarray
    indices: list[int]

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        frames = len(self.times)
        return float(self.times[-1] * frames / (frames - 1)) if frames > 1 else 0.0


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
    vista = builder.vista
    terms = row_terms(grounded, mate is not None, vista)
    wanted = {view for term in terms for view in term_views(grounded, term, vista)}
    off = {term: _why_off(grounded, term, vista) or no_mate for term in vista.weights if term not in terms}
    return ShownRow(row, grounded, mate, _views(builder, grounded, mate, wanted), off)


def _why_off(row: GroundedRow, term: str, vista: VistaArguments) -> str | None:
    """Why the term is off, or None when a mate is all it lacks."""
    if term not in vista.terms:
        return f"vista_{term}_weight is 0"
    reason = missing_grounding(row, term, vista)
    assert reason is not None or needs_mate(term, vista)
    return reason


@dataclass(frozen=True)
class _NotingBuilder(ViewBuilder):
    """A view builder that notes where the frames come from. `origins` holds the views that are read."""

    origins: dict[str, Origin] = field(default_factory=dict)

    def _read_from(
        self, view: str, row: GroundedRow, mate: GroundedRow | None
    ) -> tuple[GroundedRow, FrameSource, Selector] | None:
        read = super()._read_from(view, row, mate)
        if read is None:
            return None
        owner, source, select = read

        def select_and_note(times: np.ndarray) -> list[int]:
            # Called with the packets' times first, and last with those of the frames that really are there.
            indices = select(times)
            self.origins[view] = Origin(owner, source, times, indices)
            return indices

        return owner, source, select_and_note


def _views(builder: ViewBuilder, row: GroundedRow, mate: GroundedRow | None, wanted: set[str]) -> dict[str, ShownView]:
    noting = _NotingBuilder(**{item.name: getattr(builder, item.name) for item in fields(builder)})
    built = noting.build(row, mate, wanted)
    views = {}
    for name in sorted(built, key=VIEWS.index):
        frames, made = built[name], None if name in noting.origins else negative_kind(name, builder.vista)
        origin = noting.origins[name if made is None else MADE_FROM[name]]
        indices: list[int | None] = list(origin.indices)
        if made is not None and made not in SAME_FRAME:
            # Reversed and shuffled frames are those of the preferred view; noise and black are no frames of the video.
            places = {id(image): index for image, index in zip(built[MADE_FROM[name]], indices, strict=True)}
            indices = [places.get(id(image)) for image in frames]
        shown = tuple(
            ShownFrame(image, index, None if index is None else float(origin.times[index]))
            for image, index in zip(frames, indices, strict=True)
        )
        views[name] = ShownView(name, shown, origin, made)
    return views
