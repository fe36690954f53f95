"""From what a row says to what its files hold: paths found, headers read, times and boxes held against them.

Nothing is decoded here, but for one picture of a video that boxes are drawn on, which tells how it is turned; it runs
while the host tokenizes. What makes a row unusable raises RowError; what only takes a
term away is written down in `off`, and counted in the log.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from dataclasses import dataclass, field

import numpy as np

from vistadpo_plugin.data.rows.schema import Row, RowError
from vistadpo_plugin.data.rows.values import Box, Video
from vistadpo_plugin.data.video.intervals import (
    MIN_OUTSIDE_FRAMES,
    MIN_OUTSIDE_SECONDS,
    between,
    frame_step,
    inside_events,
    longest_outside,
)
from vistadpo_plugin.data.video.video import VIDEO_SUFFIXES, FrameSource, VideoError, frame_size, image_size, images_in

# Annotators round: an event or keyframe may end this far behind the last frame and is then moved to it (and counted).
END_TOLERANCE_SECONDS = 1.0

NO_EVENT = "no event"
NO_KEYFRAME = "no keyframe"
NO_BOX = "no box"
NO_EVENT_FRAME = "the event covers no frame"
NO_OUTSIDE = f"no stretch of {MIN_OUTSIDE_SECONDS:g} s and {MIN_OUTSIDE_FRAMES} frames without the event"
NO_BOX_LEFT = "no box with an area inside the frame"

EVENT_CUT = "an event ends a little behind its video and is cut there"
KEYFRAME_MOVED = "a keyframe lies a little behind its video and is moved to the last frame"
PICTURE_LATE = "the picture begins later than the sound; event and keyframe are counted from the sound, as players do"
KEYFRAME_FIRST = "a keyframe folder holds several images; the first in natural order is taken"
BOX_OUTSIDE = "a box shares less than a pixel with the frame and is left out"
BOX_CLIPPED = "a box reaches over the edge of the frame and is clipped to it"


@dataclass(frozen=True)
class GroundedRow:
    """A row whose files exist: absolute-enough paths, seconds inside the video, boxes inside the frame.

    `video` is a file or the images of a folder or list. `outside` is the longest stretch without the event.
    `frame_size` (width, height) is the frame the boxes are drawn on, as it is shown; (0, 0) where none is. `drawn` are
    the boxes as written. All times here count from the first frame, which comes `late` seconds after the 0 s of those
    that people write. `group` names the recording that the video is of. `off` says why a grounding is missing: keys
    `event` and `outside` (clip term), `keyframe` and `box` (object term). `rejected_videos`, `rejected_clips` and
    `rejected_keyframes` are what the row brings for the rejected views itself; with several the first is looked at, see
    `mates.draw_rejected`. `holds` are the terms in whose rejected view the chosen answer stays true.
    """

    id: str
    where: str
    video: Video
    events: tuple[tuple[float, float], ...] = ()
    outside: tuple[float, float] | None = None
    clip_images: tuple[str, ...] = ()
    clip_negative_images: tuple[str, ...] = ()
    keyframe: float | str | None = None
    frame_size: tuple[int, int] = (0, 0)
    boxes: tuple[Box, ...] = ()
    late: float = 0.0
    group: str | None = None
    drawn: tuple[Box, ...] = ()
    rejected_videos: tuple[Video, ...] = ()
    rejected_clips: tuple[Video, ...] = ()
    rejected_keyframes: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    off: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def video_key(self) -> str:
        """Name of the video; `recordings` tells which names are of one recording."""
        return self.video if isinstance(self.video, str) else "\n".join(self.video)

    def own_negatives(self, term: str) -> tuple[Video, ...]:
        """What the row brings for the rejected view of a term itself."""
        own = {"video": self.rejected_videos, "clip": self.rejected_clips, "object": self.rejected_keyframes}
        return own.get(term, ())

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> GroundedRow:
        values = json.loads(text)
        return cls(**{key: value if key == "off" else _tuples(value) for key, value in values.items()})


def _tuples(value: object) -> object:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def ground(row: Row, media_dir: str, images_fps: float) -> GroundedRow:
    """Find the row's files under `media_dir`, read their headers and hold its times and boxes against them.

    `images_fps` is the rate at which a folder or list of frames is taken to be shown (the host's `video_fps`).
    Raises RowError.
    """
    try:
        return _ground(row, media_dir, images_fps)
    except VideoError as error:
        raise RowError(row.where, str(error), "unreadable-file") from None


def assume_files(row: Row) -> GroundedRow:
    """The row as it is when its files hold what it says, for judging annotations where no media are at hand.

    Paths, times and boxes are as written; `outside` and `frame_size` stay unknown.
    """
    return GroundedRow(
        id=row.id,
        where=row.where,
        video=row.video,
        events=row.events,
        clip_images=() if row.clip_chosen is None else (row.clip_chosen,),
        clip_negative_images=() if row.clip_rejected is None else (row.clip_rejected,),
        keyframe=row.keyframe,
        boxes=row.boxes,
        group=row.group,
        drawn=row.boxes,
        rejected_videos=row.rejected_videos,
        rejected_clips=row.rejected_clips,
        rejected_keyframes=row.rejected_keyframes,
        holds=row.holds,
        off=_missing(row, row.keyframe, row.boxes),
        notes=row.notes,
    )


def _missing(row: Row, keyframe: float | str | None, boxes: tuple[Box, ...]) -> dict[str, str]:
    """`GroundedRow.off` as far as the annotation alone decides it."""
    off = {}
    if not row.events and row.clip_chosen is None:
        off["event"] = NO_EVENT
    if keyframe is None:
        off["keyframe"] = NO_KEYFRAME
    if not boxes:
        off["box"] = NO_BOX_LEFT if row.has_box else NO_BOX
    return off


def _ground(row: Row, media_dir: str, images_fps: float) -> GroundedRow:
    video = find_video(row.video, media_dir, row.where)
    needs_times = bool(row.events) or isinstance(row.keyframe, float)
    # Where nothing else opens the file, this tells whether it can be opened.
    boxed = bool(row.boxes) and not isinstance(row.keyframe, str)
    video_size = frame_size(video) if boxed or not needs_times else (0, 0)
    late = FrameSource(video, images_fps).late() if needs_times else 0.0
    notes, off = [*row.notes, *([PICTURE_LATE] if late else [])], {}

    events: tuple[tuple[float, float], ...] = ()
    outside = None
    clip_images, clip_negative_images = _clip_folders(row, media_dir)
    if row.events:
        times = frame_times(video, images_fps)
        events, event_notes = _events_inside(row, float(times[-1] + frame_step(times)), late)
        notes += event_notes
        if not inside_events(times, events).any():
            off["event"], events = NO_EVENT_FRAME, ()
        else:
            outside = longest_outside(times, events)
            if outside is None:
                off["outside"] = NO_OUTSIDE

    keyframe, boxed_size, keyframe_notes = _keyframe(row, media_dir, video, images_fps, video_size, late)
    boxes, box_notes = _boxes_inside(row.boxes, boxed_size)
    rejected = _rejected(row, media_dir)
    _refuse_same(row, rejected, {"video": video, "clip": clip_images, "keyframe": keyframe})
    return GroundedRow(
        id=row.id,
        where=row.where,
        video=video,
        events=events,
        outside=outside,
        clip_images=clip_images,
        clip_negative_images=clip_negative_images,
        keyframe=keyframe,
        frame_size=boxed_size,
        boxes=boxes,
        late=late,
        group=row.group,
        drawn=row.boxes,
        rejected_videos=rejected["video"],
        rejected_clips=rejected["clip"],
        rejected_keyframes=rejected["keyframe"],  # type: ignore[arg-type]
        holds=row.holds,
        off=_missing(row, keyframe, boxes) | off,
        notes=tuple(notes + keyframe_notes + box_notes),
    )


def from_first_frame(row: GroundedRow, images_fps: float) -> GroundedRow:
    """A row whose events are as its author wrote them -> one whose events count from the first frame, as `ground` has.

    Raises RowError for a file that cannot be read.
    """
    try:
        late = FrameSource(row.video, images_fps).late()
    except VideoError as error:
        raise RowError(row.where, str(error), "unreadable-file") from None
    events = tuple((max(start - late, 0.0), end - late) for start, end in row.events)
    return dataclasses.replace(row, events=events, late=late)


# Rows share videos, and annotation files name one video many times over.
@functools.lru_cache(maxsize=256)
def frame_times(video: str | tuple[str, ...], images_fps: float) -> np.ndarray:
    """Times of all frames (n,), seconds after the first; raises VideoError.

    They are from the packets: headers round, and know nothing of irregular frame times.
    """
    return FrameSource(video, images_fps).times()


def _rejected(row: Row, media_dir: str) -> dict[str, tuple[Video, ...]]:
    """The row's own rejected views, each found and opened."""
    keyframes = [_find(path, media_dir, row.where, "rejected keyframe") for path in row.rejected_keyframes]
    found: dict[str, tuple[Video, ...]] = {
        "video": tuple(find_video(one, media_dir, row.where, "rejected video") for one in row.rejected_videos),
        "clip": tuple(find_video(one, media_dir, row.where, "rejected clip") for one in row.rejected_clips),
        "keyframe": tuple(
            image for path in keyframes for image in (_images(path, row.where) if os.path.isdir(path) else (path,))
        ),
    }
    for one in (*found["video"], *found["clip"]):
        frame_size(one)
    for image in found["keyframe"]:
        image_size(image)  # type: ignore[arg-type]
    return found


def _refuse_same(row: Row, rejected: dict[str, tuple[Video, ...]], preferred: dict[str, object]) -> None:
    for name, views in rejected.items():
        if preferred[name] in views:
            raise RowError(
                row.where,
                f"`rejected_{name}` names the row's own {name}: the chosen answer is as likely there, and the term has "
                "nothing to learn. Name another, or remove the field.",
                "rejected-is-preferred",
            )


def find_video(video: Video, media_dir: str, where: str, what: str = "video") -> Video:
    """A file, or the images of a folder or list; raises RowError naming `what` it is and every path that was tried."""
    if isinstance(video, tuple):
        return tuple(_find(frame, media_dir, where, f"{what} frame") for frame in video)
    found = _find(video, media_dir, where, what, VIDEO_SUFFIXES)
    if not os.path.isdir(found):
        return found
    return _images(found, where)


def _images(folder: str, where: str) -> tuple[str, ...]:
    images = images_in(folder)
    if not images:
        raise RowError(where, f"the folder {folder} holds no images.", "empty-folder")
    return images


def _find(path: str, media_dir: str, where: str, what: str, suffixes: tuple[str, ...] = ()) -> str:
    tried = [os.path.join(media_dir, path)]
    if not os.path.isabs(path):
        tried.append(path)
    for base in list(tried):
        for candidate in (base, *(base + suffix for suffix in suffixes)):
            if os.path.exists(candidate):
                return candidate
    endings = f" (also with {', '.join(suffixes)})" if suffixes else ""
    raise RowError(
        where,
        f"{what} not found: tried {' and '.join(tried)}{endings}. Set `media_dir` or correct the path.",
        "missing-file",
    )


def _clip_folders(row: Row, media_dir: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = []
    for name, folder in (("clip_w", row.clip_chosen), ("clip_l", row.clip_rejected)):
        images = () if folder is None else _images(_find(folder, media_dir, row.where, f"{name} folder"), row.where)
        found.append(images)
    return found[0], found[1]


def _events_inside(row: Row, duration: float, late: float) -> tuple[tuple[tuple[float, float], ...], list[str]]:
    """The row's events counted from a first frame that comes `late` seconds after 0 s, and notes."""
    kept, notes = [], []
    close = late + duration
    for start, end in row.events:
        if start >= close or end > close + END_TOLERANCE_SECONDS or end <= late:
            raise RowError(
                row.where,
                f"`event` [{start:g}, {end:g}] lies outside the video {row.video_name}, {_span(duration, late)}; "
                "times are seconds from the start of the video.",
                "event-outside-video",
            )
        if end > close:
            notes.append(EVENT_CUT)
        kept.append((max(start - late, 0.0), min(end - late, duration)))
    return tuple(kept), notes


def _span(duration: float, late: float) -> str:
    return f"which lasts {duration:.2f} s" + (f" from its first picture at {late:.2f} s" if late else "")


def outside_stretch(times: np.ndarray, row: GroundedRow) -> np.ndarray:
    """Which frames belong to the row's longest stretch without the event: bool (n,)."""
    start, end = row.outside
    return between(times, start, end) & ~inside_events(times, row.events)


def _keyframe(
    row: Row, media_dir: str, video: str | tuple[str, ...], images_fps: float, video_size: tuple[int, int], late: float
) -> tuple[float | str | None, tuple[int, int], list[str]]:
    """(seconds or image path or None, size of the frame it shows, notes)."""
    if isinstance(row.keyframe, str):
        path = _find(row.keyframe, media_dir, row.where, "keyframe")
        notes = []
        if os.path.isdir(path):
            images = _images(path, row.where)
            if len(images) > 1:
                notes.append(KEYFRAME_FIRST)
            path = images[0]
        return path, image_size(path), notes
    if row.keyframe is None:
        return None, video_size, []
    times = frame_times(video, images_fps)
    last, seconds = float(times[-1]), row.keyframe - late
    if seconds > last + max(END_TOLERANCE_SECONDS, frame_step(times)) or seconds < -END_TOLERANCE_SECONDS:
        edge = f"last frame is at {late + last:.2f} s" if seconds > 0 else f"first frame is at {late:.2f} s"
        raise RowError(
            row.where,
            f"`keyframe` {row.keyframe:g} lies outside the video {row.video_name}, whose {edge}; "
            "give seconds from the start of the video.",
            "keyframe-outside-video",
        )
    notes = [KEYFRAME_MOVED] if seconds > last + frame_step(times) else []
    return min(max(seconds, 0.0), last), video_size, notes


def _boxes_inside(boxes: tuple[Box, ...], size: tuple[int, int]) -> tuple[tuple[Box, ...], list[str]]:
    """Clip boxes to the frame; one that shares less than a pixel with it is left out and noted."""
    width, height = size
    kept, notes = [], []
    for x, y, w, h in boxes:
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + w, float(width)), min(y + h, float(height))
        if right - left < 1 or bottom - top < 1:
            notes.append(BOX_OUTSIDE)
            continue
        if (left, top, right, bottom) != (x, y, x + w, y + h):
            notes.append(BOX_CLIPPED)
        kept.append((left, top, right - left, bottom - top))
    return tuple(kept), notes
