"""CVAT's XML of a video (CVAT for video 1.1): tracks -> keyframe and box of rows, at the middle of their events.

Frames count from 0 in the video's own, boxes are corners in pixels (https://docs.cvat.ai/docs/manual/advanced/xml_format).
A track says when it ends by a box that is `outside`; between two of its boxes it moves in a straight line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from vistadpo_plugin.data.rows.grounding import GroundedRow, frame_times, ground
from vistadpo_plugin.data.rows.schema import Box, Row, RowError, parse_row
from vistadpo_plugin.data.video.intervals import nearest_frame
from vistadpo_plugin.data.video.video import VideoError, frame_size
from vistadpo_plugin.datasets.accounting import Account

GIVEN = "keyframe and box given"
OTHER_VIDEO = "about another video than the XML, left as it was"
HAS_BOX = "has a box already, left as it was"
NO_EVENT = "no box: the row has no event, and so no middle"
NO_TRACK = "no box: no track is there at the middle of its event"
AMBIGUOUS = "no box: several tracks are there at the middle of its event, and its texts name none of them, or several"
OTHER_SIZE = "no box: the tracks were drawn on frames of another size"
MISSED = (NO_EVENT, NO_TRACK, AMBIGUOUS, OTHER_SIZE)


@dataclass(frozen=True)
class Track:
    """One object: its label, and by frame the box (x, y, w, h in px) that begins to hold there, None where it ends."""

    label: str
    boxes: dict[int, Box | None] = field(repr=False)

    def at(self, frame: int) -> Box | None:
        """The box on a frame; None where the object is not there."""
        if frame in self.boxes:
            return self.boxes[frame]
        frames = sorted(self.boxes)
        for before, after in pairwise(frames):
            if before < frame < after:
                first, last = self.boxes[before], self.boxes[after]
                if first is None or last is None:
                    return first
                share = (frame - before) / (after - before)
                return tuple(a + share * (b - a) for a, b in zip(first, last, strict=True))  # type: ignore[return-value]
        return self.boxes[frames[-1]] if frames and frame > frames[-1] else None


@dataclass(frozen=True)
class TrackedVideo:
    """The tracks of one task: the name of its video, and (width, height) in px of the frames they were drawn on."""

    source: str
    size: tuple[int, int]
    tracks: tuple[Track, ...]


def read_cvat(path: Path) -> TrackedVideo:
    """Raises OSError, and ValueError for a file that is no export of one video, or that holds turned boxes."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not valid XML: {error}.") from None
    if root.tag != "annotations" or root.find("image") is not None or root.find("track") is None:
        raise ValueError(f"{path} holds no tracks of a video; export the task from CVAT as `CVAT for video 1.1`.")
    if root.find("meta/project") is not None:
        raise ValueError(f"{path} is of a whole project; export its tasks one by one.")
    source = root.findtext("meta/source") or root.findtext("meta/*/source")
    size = root.find("meta//original_size")
    if not source or size is None:
        raise ValueError(f"{path} does not say of which video it is (`source`), or how large its frames are.")
    if (root.findtext("meta/*/flipped") or "False") == "True":
        raise ValueError(f"{path}: the frames were flipped for the task, the boxes do not fit the video.")
    try:
        tracks = tuple(_track(element) for element in root.iter("track"))
        return TrackedVideo(source, (int(size.findtext("width")), int(size.findtext("height"))), tracks)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}.") from None


def _track(element: ElementTree.Element) -> Track:
    boxes: dict[int, Box | None] = {}
    for shape in element:
        if shape.tag != "box":
            raise ValueError(f"a track of {element.get('label')!r} is made of {shape.tag}; only boxes are read")
        if float(shape.get("rotation", 0)) % 360:
            raise ValueError(f"a box of {element.get('label')!r} is turned; rows have upright boxes")
        left, top, right, bottom = (float(shape.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        gone = shape.get("outside") == "1"
        boxes[int(shape.attrib["frame"])] = None if gone else (left, top, right - left, bottom - top)
    return Track(element.attrib["label"], boxes)


def add_boxes(
    sources: list[tuple[str, str]], tracked: TrackedVideo, media_dir: Path, account: Account
) -> tuple[list[str], bool]:
    """The (place, JSON text) rows as texts, those about the video with keyframe and box, and whether any went without.

    The track is one that is there at the middle of the row's longest event: that whose label the right answer names,
    else the question, else the only one. Rows that cannot be used are left out and counted.
    """
    made, missed = [], False
    for where, text in sources:
        try:
            row = parse_row(text, where)
            said, text = _with_box(text, row, tracked, media_dir)
        except RowError as error:
            account.leave_out(error.kind or "unusable", error.where, error.message)
            continue
        account.note(said, where)
        missed = missed or said in MISSED
        made.append(text)
    return made, missed


def _with_box(text: str, row: Row, tracked: TrackedVideo, media_dir: Path) -> tuple[str, str]:
    """What to note of the row, and its text. Raises RowError."""
    if not isinstance(row.video, str) or tracked.source not in _names(row.video, tracked.source):
        return OTHER_VIDEO, text
    if row.has_box:
        return HAS_BOX, text
    grounded = ground(row, str(media_dir), images_fps=1.0)
    if not grounded.events:
        return NO_EVENT, text
    seconds, frame = _middle(grounded)
    try:
        if frame_size(grounded.video) != tracked.size:
            return OTHER_SIZE, text
    except VideoError as error:
        raise RowError(row.where, str(error), "unreadable-file") from None
    there = [(track, box) for track in tracked.tracks if (box := track.at(frame)) is not None]
    if not there:
        return NO_TRACK, text
    box = _named(there, (row.chosen, row.prompt))
    if box is None:
        return AMBIGUOUS, text
    made = json.loads(text)
    made.pop("frame", None)
    return GIVEN, json.dumps(
        {**made, "keyframe": seconds, "box": [round(number, 2) for number in box]}, ensure_ascii=False
    )


def _names(video: str, source: str) -> tuple[str, ...]:
    """The names a row's video may have as a file: its own, and with the source's ending where it has none."""
    name = Path(video).name
    return name, name + Path(source).suffix


def _middle(row: GroundedRow) -> tuple[float, int]:
    """The frame nearest to the middle of the longest event: its time on a player's clock, and its number from 0."""
    start, end = max(row.events, key=lambda event: event[1] - event[0])
    times = frame_times(row.video, 1.0)
    frame = nearest_frame(times, (start + end) / 2)
    return round(float(times[frame]) + row.late, 3), frame


def _named(there: list[tuple[Track, Box]], texts: Iterable[str]) -> Box | None:
    """The box of the one track whose label the first text to name any names; of the only track where none does."""
    for text in texts:
        named = [box for track, box in there if re.search(rf"\b{re.escape(track.label)}\b", text, re.IGNORECASE)]
        if named:
            return named[0] if len(named) == 1 else None
    return there[0][1] if len(there) == 1 else None
