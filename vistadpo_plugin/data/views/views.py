"""The six views of a row: which of them its terms need, which frames they are, and the frames themselves.

| view | preferred | rejected |
|---|---|---|
| video | full | video_negative |
| clip | clip | clip_negative |
| object | keyframe | keyframe_negative |
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from vistadpo_plugin.data.rows.grounding import GroundedRow, outside_stretch
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.data.video.intervals import inside_events, nearest_frame
from vistadpo_plugin.data.video.video import FrameSource, VideoError
from vistadpo_plugin.data.views import negatives
from vistadpo_plugin.data.views.keys import ViewKeys

FULL, VIDEO_NEGATIVE = "full", "video_negative"
CLIP, CLIP_NEGATIVE = "clip", "clip_negative"
KEYFRAME, KEYFRAME_NEGATIVE = "keyframe", "keyframe_negative"

# Views that can be made out of another view of the same row instead of being read from a file.
MADE_FROM = {VIDEO_NEGATIVE: FULL, CLIP_NEGATIVE: CLIP, KEYFRAME_NEGATIVE: KEYFRAME}

TERM_OF = {VIDEO_NEGATIVE: "video", CLIP_NEGATIVE: "clip", KEYFRAME_NEGATIVE: "object"}
"""The term that a rejected view is for."""

OWN = "own"
"""A rejected view that the row brings itself, in place of the recipe's."""

NO_MATE = "no other video in the data set"
HOLDS = "the chosen answer stays true in the rejected view"

Selector = Callable[[np.ndarray], list[int]]
"""Times of all frames of a source (n,) -> indices of the frames a view takes."""


Sampling = Literal["ends", "midpoints"]
"""Where evenly spread frames lie, see `sample_indices`."""


class SampledFrames(list):
    """A view's frames, final: no family samples them again. A plain list to the host, which takes it as frames.

    Where they are known, `source` is the video and `indices` are the places in it at whose times the frames are shown.
    """

    def __init__(
        self, frames: Iterable[Image.Image] = (), source: FrameSource | None = None, indices: Sequence[int] = ()
    ):
        super().__init__(frames)
        self.source, self.indices = source, tuple(indices)


def missing_grounding(row: GroundedRow, term: str, view_keys: ViewKeys) -> str | None:
    """Why the row does not carry the term, or None when it does. A mate, where one is needed, is not looked at."""
    reason = _lacking(row, term, view_keys)
    if reason is None and view_keys.heed_holds and term in row.holds:
        return HOLDS
    return reason


def _lacking(row: GroundedRow, term: str, view_keys: ViewKeys) -> str | None:
    """What of the term's two views cannot be had."""
    kind = negative_kind(row, term, view_keys)
    if term == "clip":
        if "event" in row.off:
            return row.off["event"]
        if kind == "non_event" and not row.clip_negative_images:
            return row.off.get("outside")
    elif term == "object":
        # The other negatives replace the frame and need no box.
        needs_box = kind in ("mask", "move")
        reason = row.off.get("keyframe") or (row.off.get("box") if needs_box else None)
        if reason is None and kind == "move" and _fills_frame(row):
            return "an object too large to be moved"
        return reason
    elif term == "token" and view_keys.token_view == "keyframe":
        return row.off.get("keyframe")
    return None


def _fills_frame(row: GroundedRow) -> bool:
    """Whether an object is more than half as wide and as high as the frame, so that it has no other place in it."""
    width, height = row.frame_size
    return any(w > width / 2 and h > height / 2 for _, _, w, h in row.boxes)


def negative_kind(row: GroundedRow, term: str, view_keys: ViewKeys) -> str | None:
    """How the row's rejected view of a term comes about: as the recipe says, or OWN where the row brings one."""
    return OWN if row.own_negatives(term) else view_keys.negative(term)


def needs_mate(row: GroundedRow, term: str, view_keys: ViewKeys) -> bool:
    """Whether the term's rejected view is another row's video."""
    return negative_kind(row, term, view_keys) == "other"


def token_view(row: GroundedRow, view_keys: ViewKeys) -> str:
    """The view the token term looks at."""
    return FULL if view_keys.token_view == "video" or "keyframe" in row.off else KEYFRAME


def sample_indices(available: int, frames: int, sampling: Sampling = "ends") -> np.ndarray:
    """`frames` indices spread evenly over `available` frames; repeats when there are too few.

    "ends": from the first to the last, rounded down. "midpoints": from the middle of the first of `frames` equal
    segments, rounded down, in steps of a segment, rounded.
    """
    if sampling == "ends":
        return np.linspace(0, available - 1, frames).astype(np.int64)
    segment = (available - 1) / frames
    return math.floor(segment / 2) + np.round(segment * np.arange(frames)).astype(np.int64)


def row_terms(row: GroundedRow, has_mate: bool, view_keys: ViewKeys) -> list[str]:
    """The terms of this row that are on and that it can carry."""
    return [
        term
        for term in view_keys.terms
        if missing_grounding(row, term, view_keys) is None and (has_mate or not needs_mate(row, term, view_keys))
    ]


def term_views(row: GroundedRow, term: str, view_keys: ViewKeys) -> tuple[str, ...]:
    """The views a term looks at, preferred view first."""
    return {
        "response": (FULL,),
        "video": (FULL, VIDEO_NEGATIVE),
        "clip": (CLIP, CLIP_NEGATIVE),
        "object": (KEYFRAME, KEYFRAME_NEGATIVE),
        "token": (token_view(row, view_keys),),
    }[term]


@dataclass(frozen=True)
class ViewRequest:
    """The views that one row wants; `mate` gives the unrelated video, `magnitude` is of temporal rejected views."""

    row: GroundedRow
    mate: GroundedRow | None
    wanted: set[str]
    magnitude: int | None = None


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


@dataclass
class BuiltViews:
    """What came of a request: the views that could be read, and for the others errors that name the file's own row.

    `origins` are those of the views that were read, also of one that was read only to make another from it.
    """

    views: dict[str, SampledFrames]
    errors: list[RowError]
    origins: dict[str, Origin]


@dataclass(frozen=True)
class _Read:
    """A view that request `number` wants from a source, the row whose file that is, and which frames."""

    number: int
    view: str
    owner: GroundedRow
    selector: Selector


@dataclass(frozen=True)
class ViewBuilder:
    """Decodes the views of rows.

    `fixed_frames` is the frame count of families that want exactly so many (None: the host's rule of `video_fps` and
    `video_maxlen`); `shrink` is the host's own resizing of a video frame; `seed` draws noise and shuffles; `sampling`
    is how the family spreads its frames.
    """

    view_keys: ViewKeys
    video_fps: float
    video_maxlen: int
    fixed_frames: int | None
    shrink: Callable[[Image.Image], Image.Image]
    seed: int
    sampling: Sampling = "ends"

    def build(self, row: GroundedRow, mate: GroundedRow | None, wanted: set[str]) -> dict[str, SampledFrames]:
        """The wanted views of one row. Raises RowError naming the row and the file that cannot be read."""
        (built,) = self.build_all([ViewRequest(row, mate, wanted)])
        for error in built.errors:
            raise error
        return built.views

    def build_all(self, requests: list[ViewRequest]) -> list[BuiltViews]:
        """The views of the rows of a micro-batch: each distinct file is decoded once, in one pass.

        Views that show the same frames are one object (a mate's full video is the other row's unrelated one). A file
        that cannot be read costs the views that need it, see `BuiltViews.errors`.
        """
        reads: dict[FrameSource, list[_Read]] = defaultdict(list)
        for number, request in enumerate(requests):
            for view in {self._base(view, request) for view in request.wanted}:
                owner, source, selector = self._read_from(view, request.row, request.mate)
                reads[source].append(_Read(number, view, owner, selector))
        built = [BuiltViews({}, [], {}) for _ in requests]
        known: dict[tuple, SampledFrames] = {}
        for source, wanted in reads.items():
            self._read(source, wanted, built, known)
        for request, one in zip(requests, built, strict=True):
            for view in request.wanted - one.views.keys():
                base = one.views.get(self._base(view, request))
                if base is not None:
                    altered = self._altered(view, base, request.row, request.magnitude)
                    one.views[view] = SampledFrames(altered, base.source, base.indices)
            one.views = {view: one.views[view] for view in sorted(request.wanted & one.views.keys())}
        return built

    def _base(self, view: str, request: ViewRequest) -> str:
        """The view whose frames are read for this one: itself, or the one it is made from."""
        return view if self._read_from(view, request.row, request.mate) is not None else MADE_FROM[view]

    def _read(
        self,
        source: FrameSource,
        wanted: list[_Read],
        built: list[BuiltViews],
        known: dict[tuple, SampledFrames],
    ) -> None:
        """One pass over `source` for all that is wanted of it; `known` holds the views made so far by their frames."""
        try:
            times, frames = source.read(
                lambda times: {index for read in wanted for index in read.selector(times)}, self.shrink
            )
        except VideoError as error:
            if len(wanted) > 1:  # one row's wish may be what cannot be met
                for read in wanted:
                    self._read(source, [read], built, known)
            else:
                (read,) = wanted
                built[read.number].errors.append(RowError(read.owner.where, str(error)))
            return
        for read in wanted:
            indices = read.selector(times)
            shown = SampledFrames((frames[index] for index in indices), source, indices)
            built[read.number].origins[read.view] = Origin(read.owner, source, times, indices)
            built[read.number].views[read.view] = known.setdefault((source, tuple(indices)), shown)

    def _read_from(
        self, view: str, row: GroundedRow, mate: GroundedRow | None
    ) -> tuple[GroundedRow, FrameSource, Selector] | None:
        """(row the file belongs to, source, selector) of a view that is read, None for one made from another view."""
        own = FrameSource(row.video, self.video_fps)
        if view == FULL:
            return row, own, self._spread(self._full_count)
        if view == KEYFRAME:
            if isinstance(row.keyframe, str):
                return row, FrameSource((row.keyframe,), self.video_fps), lambda times: [0]
            return row, own, lambda times: [nearest_frame(times, row.keyframe)]
        if view == CLIP:
            if row.clip_images:
                return row, FrameSource(row.clip_images, self.video_fps), self._spread(self._clip_count)
            return row, own, self._spread(self._clip_count, lambda times: inside_events(times, row.events), row)
        kind = negative_kind(row, TERM_OF[view], self.view_keys)
        if view == KEYFRAME_NEGATIVE:
            if kind == OWN:
                return row, FrameSource((row.rejected_keyframes[0],), self.video_fps), lambda times: [0]
            return None
        count = self._full_count if view == VIDEO_NEGATIVE else self._clip_count
        if kind == OWN:
            return row, FrameSource(row.own_negatives(TERM_OF[view])[0], self.video_fps), self._spread(count)
        if kind == "other":
            assert mate is not None  # row_terms() leaves the term out otherwise
            return mate, FrameSource(mate.video, self.video_fps), self._spread(count)
        if kind == "non_event":
            if row.clip_negative_images:
                return row, FrameSource(row.clip_negative_images, self.video_fps), self._spread(count)
            return row, own, self._spread(count, lambda times: outside_stretch(times, row), row)
        return None

    def _full_count(self, available: int, times: np.ndarray) -> int:
        """Frames of a full view: a fixed number, or the host's rule (which knows the length from the header)."""
        if self.fixed_frames is not None:
            return self.fixed_frames
        step = times[-1] / (len(times) - 1) if len(times) > 1 else 0.0
        seconds = times[-1] + step
        return min(len(times), self.video_maxlen, max(1, math.floor(seconds * self.video_fps + 1e-6)))

    def _clip_count(self, available: int, times: np.ndarray) -> int:
        """As many as the full view has, or as the recipe says; only fixed numbers repeat frames to get there."""
        full = self._full_count(available, times)
        return self.view_keys.clip_frames or (full if self.fixed_frames is not None else min(available, full))

    def _spread(
        self,
        count: Callable[[int, np.ndarray], int],
        among: Callable[[np.ndarray], np.ndarray] | None = None,
        row: GroundedRow | None = None,
    ) -> Selector:
        """Frames spread evenly over all frames, or over those of `row` where `among` (n,) is true."""

        def select(times: np.ndarray) -> list[int]:
            pool = np.arange(len(times)) if among is None else np.flatnonzero(among(times))
            if not len(pool):
                raise VideoError(f"{row.video_key}: decoded frames have other times than its packets, a clip has none.")
            return pool[sample_indices(len(pool), count(len(pool), times), self.sampling)].tolist()

        return select

    def _altered(self, view: str, frames: SampledFrames, row: GroundedRow, magnitude: int | None) -> list[Image.Image]:
        """A rejected view made from the preferred one."""
        kind = self.view_keys.negative(TERM_OF[view])
        if kind == "black":
            return negatives.black_like(frames)
        if kind == "reverse":
            return negatives.reversed_order(frames, magnitude)
        # Drawn from the row, not from a running generator: the same whatever batch, rank or worker it falls to.
        rng = np.random.default_rng([self.seed, zlib.crc32(f"{row.where} {view}".encode())])
        if kind == "noise":
            return negatives.noise_like(frames, rng)
        if kind in ("shuffle", "drop"):
            change = negatives.shuffled if kind == "shuffle" else negatives.dropped
            return change(frames, rng, magnitude)
        corners = negatives.scaled_boxes(row.boxes, row.frame_size, frames[0].size)
        alter = negatives.masked if kind == "mask" else negatives.moved
        return [alter(frame, corners, self.view_keys.mask_fill) for frame in frames]
