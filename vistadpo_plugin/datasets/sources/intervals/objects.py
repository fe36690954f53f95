"""Boxes for Charades' videos, out of Action Genome's annotations or of STAR's, which hold the same boxes.

Action Genome (JingweiJ/ActionGenome, README): object_bbox_and_relationship.pkl is {'VIDEO.mp4/000089.png': [{class,
bbox: (x, y, width, height) or None, visible, ...}, ...]}. STAR: see star.py. Frames are numbered alike, as ffmpeg does.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.sources.files import read_json
from vistadpo_plugin.datasets.sources.intervals.events import Event
from vistadpo_plugin.datasets.sources.star_objects import CLASSES, NoObject, object_frames, pick_frame
from vistadpo_plugin.datasets.text import stems, words

Situations = dict[str, dict[str, dict[str, list[Any]]]]
"""Video -> frame number as text -> STAR's {bbox_labels: [class, ...], bbox: [[x1, y1, x2, y2] or None, ...]}."""

_BY_WORD = {
    stem: f"o{number:03d}"
    for number, name in enumerate(CLASSES)
    if name != "person"
    for word in name.split("/")
    for stem in stems(word)
}
# Action Genome writes closet/cabinet in one place and closetcabinet in another.
_BY_CLASS = {name.replace("/", ""): f"o{number:03d}" for number, name in enumerate(CLASSES)}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, dicts, tuples, texts and numbers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only plain values are loaded")


def read_action_genome(path: Path) -> Situations:
    """The boxes of an object_bbox_and_relationship.pkl. Raises ValueError for a file that is none."""
    try:
        with path.open("rb") as stream:
            content = _PlainUnpickler(stream).load()
        found: Situations = {}
        for tag, objects in content.items():
            video, frame = tag.split("/")
            situation: dict[str, list[Any]] = {"bbox_labels": [], "bbox": []}
            for item in objects:
                situation["bbox_labels"].append(_BY_CLASS.get(item["class"].replace("/", "")))
                situation["bbox"].append(_corners(item.get("bbox")) if item.get("visible", True) else None)
            found.setdefault(Path(video).stem, {})[Path(frame).stem] = situation
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path} is not Action Genome's object_bbox_and_relationship.pkl ({type(error).__name__}: {error})."
        ) from None
    return found


def read_star_boxes(paths: Sequence[Path]) -> Situations:
    """The boxes of STAR's questions, by video. Raises ValueError for a file that is not STAR's."""
    found: Situations = {}
    for path in paths:
        content = read_json(path)
        if not isinstance(content, list) or not all(isinstance(item, dict) and "video_id" in item for item in content):
            raise ValueError(f"{path} is not STAR's: a list of questions with video_id is expected.")
        for item in content:
            if isinstance(item.get("situations"), dict):
                found.setdefault(item["video_id"], {}).update(item["situations"])
    return found


def _corners(box: Any) -> list[float] | None:
    """(x, y, width, height) -> [x1, y1, x2, y2]; None stays."""
    if box is None:
        return None
    left, top, width, height = box
    return [left, top, left + width, top + height]


def ground_object(
    event: Event, situations: Situations, rate_of: Callable[[str], float | None]
) -> tuple[float | None, tuple[Box, ...], tuple[str, ...]]:
    """(keyframe, boxes, notes) of the first object class that the sentence names and a frame of the event has boxed."""
    start, end = event.asked
    reasons = []
    named = [_BY_WORD[stem] for word in words(event.sentence) for stem in stems(word) if stem in _BY_WORD]
    for wanted in dict.fromkeys(named):
        try:
            frames = object_frames(situations.get(event.video), wanted)
            return *pick_frame(frames, rate_of(event.video), start, end), ()
        except NoObject as reason:
            reasons.append(str(reason))
    return None, (), (f"no keyframe and box: {reasons[0] if reasons else 'the sentence names no object class'}",)
