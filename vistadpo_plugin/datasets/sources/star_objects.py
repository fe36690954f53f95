"""Which object a STAR answer is about, and where its boxes are."""

from __future__ import annotations

import re
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.text import words

# annotations/STAR_classes/object_classes.txt of csbobby/STAR_Benchmark: class o000 is the first, and so on.
CLASSES = (
    "person", "broom", "picture", "closet/cabinet", "blanket", "window", "table", "paper/notebook", "refrigerator",
    "pillow", "cup/glass/bottle", "shelf", "shoe", "medicine", "phone/camera", "box", "sandwich", "book", "bed",
    "clothes", "mirror", "sofa/couch", "floor", "bag", "dish", "laptop", "door", "towel", "food", "chair", "doorknob",
    "doorway", "groceries", "hands", "light", "vacuum", "television",
)  # fmt: skip
_NUMBERS = {name: f"o{number:03d}" for number, name in enumerate(CLASSES) if name != "person"}

# "What did the person do to the table before holding the box?" asks about the table.
_ACTED_ON = re.compile(r"\b(?:with|to) the ([\w/]+)")

# The frames of a situation lie between start and end, up to the rounding of either.
_SEGMENT_TOLERANCE_SECONDS = 0.5


class NoObject(Exception):
    """Why a question has no keyframe and box; the message is counted."""


def answer_object(item: dict[str, Any], right: dict[str, Any]) -> str:
    """The class (`o019`) of the object that the answer is about.

    It is the one object class named by the right choice or its program ("The clothes."). Where these name none ("Put
    down."), it is the object acted on in the question, or the only one there. Raises NoObject when that leaves none or
    several.
    """
    named = _classes(right["choice"]) | {_NUMBERS[value] for value in _inputs(right) if value in _NUMBERS}
    if not named:
        acted_on = _ACTED_ON.search(item["question"])
        named = _classes(acted_on.group(1)) if acted_on else set()
        named = named or _classes(item["question"])
    if len(named) != 1:
        raise NoObject(f"answer and question name {'several object classes' if named else 'no object class'}")
    return named.pop()


def _inputs(choice: dict[str, Any]) -> list[str]:
    """The values of a choice's program: [{"function": "Equal", "value_input": ["clothes"]}] -> ["clothes"]."""
    steps = choice.get("choice_program")
    given = [step.get("value_input") for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    return [value for values in given if isinstance(values, list) for value in values if isinstance(value, str)]


def _classes(text: str) -> set[str]:
    return {_NUMBERS[word] for word in words(text) if word in _NUMBERS}


def object_frames(situations: Any, wanted: str) -> dict[int, tuple[Box, ...]]:
    """Frame number -> boxes [x, y, w, h] of the class `wanted`, for the frames that have one with an area.

    Raises NoObject when there is no such frame.
    """
    frames: dict[int, tuple[Box, ...]] = {}
    for name, situation in (situations if isinstance(situations, dict) else {}).items():
        if not name.isdigit() or not isinstance(situation, dict):
            continue
        labels, corners = situation.get("bbox_labels"), situation.get("bbox")
        if not isinstance(labels, list) or not isinstance(corners, list):
            continue
        boxes = [_box(box) for label, box in zip(labels, corners, strict=False) if label == wanted]
        boxes = [box for box in boxes if box is not None]
        if boxes:
            frames[int(name)] = tuple(boxes)
    if not frames:
        raise NoObject("the object has no box in any annotated frame")
    return frames


def pick_frame(
    frames: dict[int, tuple[Box, ...]], rate: float | None, start: float, end: float
) -> tuple[float, tuple[Box, ...]]:
    """(seconds, boxes) of the annotated frame nearest to the middle of the segment, the earlier of two.

    Frames are numbered from 1, as `ffmpeg -i VIDEO %06d.png` does: number n is shown at (n - 1) / rate seconds.
    Raises NoObject when no frame can be timed.
    """
    if rate is None:
        raise NoObject("the video's frame rate is not known; give --fps or the videos")
    times = {number: (number - 1) / rate for number in frames}
    inside = [
        number
        for number, seconds in times.items()
        if start - _SEGMENT_TOLERANCE_SECONDS <= seconds <= end + _SEGMENT_TOLERANCE_SECONDS
    ]
    if not inside:
        raise NoObject("no annotated frame lies between start and end at this frame rate")
    number = min(inside, key=lambda number: (abs(times[number] - (start + end) / 2), number))
    return round(times[number], 3), frames[number]


def _box(corners: Any) -> Box | None:
    """[x1, y1, x2, y2] -> (x, y, w, h), None where there is no box of at least a pixel."""
    if not isinstance(corners, list) or len(corners) != 4 or not all(map(is_finite_number, corners)):
        return None
    left, top, right, bottom = corners
    if right - left < 1 or bottom - top < 1:
        return None
    return (round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2))
