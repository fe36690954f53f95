"""A review applied to its row: what the annotator changed is written anew, all else stays to the last character."""

from __future__ import annotations

import json
from typing import Any

from vistadpo_plugin.annotation.label_studio import page
from vistadpo_plugin.annotation.label_studio.reviews import Review, ReviewError
from vistadpo_plugin.annotation.label_studio.tasks import Task, text_of
from vistadpo_plugin.annotation.label_studio.units import Ticks, to_pixels
from vistadpo_plugin.data.rows.schema import Box

# A box that a browser brings back nearer than this to what it was given was not moved by anyone.
SAME_BOX_PIXELS = 0.05

BOX_DROPPED = "keyframe moved or removed: its box was of another picture and is dropped"

PHRASES_DROPPED = "an answer with marked phrases edited: they were of another text and are dropped"
DROPPED = (BOX_DROPPED, PHRASES_DROPPED)


def apply_review(task: Task, review: Review) -> tuple[str, list[str]]:
    """The row as JSON text after a review, and what was changed: fields, and any of `DROPPED`.

    Where nothing was changed, the text is the one that was exported. Raises ReviewError.
    """
    if review.trouble is not None:
        raise ReviewError(review.trouble)
    if not review.loaded:
        return task.text, []
    row = task.row_json
    changed = [name for name in page.TEXTS if _apply_text(row, name, review.texts.get(name))]
    marked = [name for name in changed if (row.get("phrases") or {}).pop(name, None)]
    changed += [PHRASES_DROPPED] if marked else []
    if set(review.events) != set(task.drafted_events):
        changed.append("event")
        _put(row, "event", _pairs(task, review.events))
    changed += _apply_keyframe(row, task, review)
    return (json.dumps(row, ensure_ascii=False) if changed else task.text), changed


def _apply_text(row: dict[str, Any], name: str, text: str | None) -> bool:
    """Whether the text was changed; white space at its ends is not looked at."""
    before = text_of(row, name)
    text = (text or "").replace("\r\n", "\n")
    if text.strip() == str(before or "").replace("\r\n", "\n").strip():
        return False
    if text.strip():
        released = name == "rejected_irrelevant" and row.get("rejected_2") is not None
        known = row.get(name)
        row["rejected_2" if released else name] = [text, *known[1:]] if isinstance(known, list) else text
        return True
    if name != "rejected_irrelevant":
        raise ReviewError(f"`{name}` was emptied")
    row.pop("rejected_2", None)
    row.pop(name, None)
    return True


def _pairs(task: Task, events: tuple[Ticks, ...]) -> list[list[float]] | list[float]:
    """Events in seconds; an end of a range that was not moved keeps its number."""
    drafted = task.drafted_events
    starts = {ticks[0]: event[0] for ticks, event in drafted.items()}
    ends = {ticks[1]: event[1] for ticks, event in drafted.items()}
    pairs = []
    for ticks in events:
        if ticks in drafted:
            pairs.append(list(drafted[ticks]))
            continue
        start, end = task.ruler.to_seconds(ticks)
        start, end = starts.get(ticks[0], start), ends.get(ticks[1], end)
        pairs.append([start, end] if start < end else list(task.ruler.to_seconds(ticks)))
    return pairs[0] if len(pairs) == 1 else pairs


def _apply_keyframe(row: dict[str, Any], task: Task, review: Review) -> list[str]:
    """Keyframe and boxes, which belong to a picture: boxes of another one than the keyframe's are dropped."""
    if len(review.keyframes) > 1:
        raise ReviewError(f"{len(review.keyframes)} keyframes are marked")
    drafted, marked = task.drafted_keyframe, review.keyframes[0] if review.keyframes else None
    if marked != drafted and None not in (marked, drafted):
        marked = drafted if task.ruler.moment(marked) == task.ruler.moment(drafted) else marked
    boxes, boxes_changed = _boxes(task, review)
    if marked != drafted:
        # Where the row had no keyframe, boxes drawn now are of the picture that was shown.
        same = marked is not None and task.ruler.moment(marked) == task.picture_moment
        _put(row, "keyframe", None if marked is None else task.ruler.moment(marked))
        if same:
            if boxes_changed:
                _put(row, "box", boxes)
            return ["keyframe", *(["box"] if boxes_changed else [])]
        had = bool(review.boxes) or task.row.has_box
        _put(row, "box", [])
        return ["keyframe", *([BOX_DROPPED] if had else [])]
    if not boxes_changed:
        return []
    _put(row, "box", boxes)
    if task.row.keyframe is None and boxes:
        _put(row, "keyframe", task.picture.seconds)
        return ["box", "keyframe"]
    return ["box"]


def _boxes(task: Task, review: Review) -> tuple[list[Any], bool]:
    """Boxes in pixels, those that nobody moved with the numbers they had, and whether any differs from the draft's."""
    left = list(task.drafted_boxes)
    found: list[list[float]] = []
    changed = False
    for value in review.boxes:
        box = to_pixels(value, task.picture.size)
        kept = next((pair for pair in left if _same(to_pixels(pair[0], task.picture.size), box)), None)
        if kept is None:
            changed = True
            found.append([round(number, 2) for number in box])
        else:
            left.remove(kept)
            found.append(list(kept[1]))
    return (found[0] if len(found) == 1 else found), changed or bool(left)


def _same(one: Box, other: Box) -> bool:
    return all(abs(a - b) < SAME_BOX_PIXELS for a, b in zip(one, other, strict=True))


_RELEASED = {"box": "bbox", "keyframe": "frame"}


def _put(row: dict[str, Any], name: str, value: Any) -> None:
    """Set a field, under the released sample's name where the row has that; an empty value takes it away."""
    old = _RELEASED.get(name, name)
    if value is None or value == []:
        row.pop(name, None)
        row.pop(old, None)
    elif name == "box" and old in row:
        row[old] = value
    else:
        if old != name:
            row.pop(old, None)
        row[name] = value
