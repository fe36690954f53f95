"""One row as a task: what the page shows, the draft as a pre-annotation, and the row itself, byte for byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from vistadpo_plugin.annotation.label_studio import page
from vistadpo_plugin.annotation.label_studio.units import Ruler, Ticks, to_per_cents
from vistadpo_plugin.data.rows.schema import Box, Row, parse_row

FORMAT = 1
OURS = "vistadpo"
"""The field of a task's data that holds what `import` needs; it comes back in every export as it is."""


# More pixels a side than any picture has: a size that was changed.
_MOST_PIXELS = 1 << 20


class TaskError(ValueError):
    """A task that is not one of ours, or was changed; the message says how."""


@dataclass(frozen=True)
class Picture:
    """The picture that boxes are drawn on: (width, height) in px, and when it is shown, in seconds on a player's clock.

    `seconds` is None for a keyframe that is an image.
    """

    size: tuple[int, int]
    seconds: float | None


@dataclass(frozen=True)
class Task:
    """A row as it lies in a task: its text as its file has it, and the units of its video and picture."""

    where: str
    text: str
    ruler: Ruler
    picture: Picture
    row: Row = field(repr=False)

    @property
    def drafted_events(self) -> dict[Ticks, tuple[float, float]]:
        """The row's events by the ticks that show them; two may show the same."""
        return {self.ruler.to_ticks(event): event for event in self.row.events}

    @property
    def drafted_keyframe(self) -> int | None:
        """The tick of the keyframe; None where there is none, or where it is an image."""
        seconds = self.row.keyframe
        return self.ruler.to_ticks((seconds, seconds))[0] if isinstance(seconds, float) else None

    @property
    def picture_moment(self) -> float | None:
        """When the picture is shown, as the time line tells it; None for an image."""
        seconds = self.picture.seconds
        return None if seconds is None else self.ruler.moment(self.ruler.to_ticks((seconds, seconds))[0])

    @property
    def drafted_boxes(self) -> list[tuple[dict[str, float], Box]]:
        """The row's boxes that share something with the picture, in per cents and as they are."""
        shown = [(to_per_cents(box, self.picture.size), box) for box in self.row.boxes]
        return [(value, box) for value, box in shown if value is not None]

    def draft(self) -> list[dict[str, Any]]:
        """The results of the pre-annotation: texts, events, keyframe and boxes, and no verdict."""
        results = []
        for name in page.TEXTS:
            text = text_of(self.row_json, name)
            if text:
                results.append(_result(name, name, page.VIDEO, "textarea", {"text": [text]}))
        for number, (first, last) in enumerate(self.drafted_events):
            results.append(_range(f"event-{number}", page.EVENT, first, last))
        if self.drafted_keyframe is not None:
            results.append(_range("keyframe", page.KEYFRAME, self.drafted_keyframe, self.drafted_keyframe))
        width, height = self.picture.size
        for number, (value, _) in enumerate(self.drafted_boxes):
            value = {**value, "rotation": 0, "rectanglelabels": [page.OBJECT]}
            result = _result(f"box-{number}", page.BOX_CONTROL, page.PICTURE, "rectanglelabels", value)
            results.append(result | {"original_width": width, "original_height": height, "image_rotation": 0})
        return results

    @property
    def row_json(self) -> dict[str, Any]:
        """The row as its author wrote it."""
        return json.loads(self.text)

    def as_json(self, video_url: str, picture_url: str) -> dict[str, Any]:
        """The task as Label Studio imports it."""
        ours = {
            "format": FORMAT,
            "where": self.where,
            "row": self.text,
            "ruler": self.ruler.as_json(),
            "picture": {"size": list(self.picture.size), "seconds": self.picture.seconds},
        }
        data = {"video": video_url, "fps": self.ruler.rate, "picture": picture_url, "about": _about(self), OURS: ours}
        return {"data": data, "predictions": [{"model_version": "draft", "result": self.draft()}]}

    @classmethod
    def from_data(cls, data: Any) -> Task:
        """A task out of the `data` of an export's. Raises TaskError."""
        ours = data.get(OURS) if isinstance(data, dict) else None
        if not isinstance(ours, dict):
            raise TaskError(f"its data has no `{OURS}`: it was not made by `vistadpo annotate export`.")
        if ours.get("format") != FORMAT:
            raise TaskError(f"it was exported in format {ours.get('format')!r}, this version reads {FORMAT}.")
        try:
            size, seconds = ours["picture"]["size"], ours["picture"]["seconds"]
            if not isinstance(ours["where"], str) or not all(0 < side < _MOST_PIXELS for side in size):
                raise ValueError("where or size")
            picture = Picture((int(size[0]), int(size[1])), None if seconds is None else float(seconds))
            row = parse_row(ours["row"], ours["where"])
            return cls(ours["where"], ours["row"], Ruler.from_json(ours["ruler"]), picture, row)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise TaskError(f"what `vistadpo annotate export` wrote into `{OURS}` was changed: {error!r}.") from None


def text_of(row: dict[str, Any], name: str) -> str | None:
    """A text of a row under our name for it or the released sample's; of a list of answers the first."""
    value = row.get(name)
    if isinstance(value, list):
        return value[0]
    return row.get("rejected_2") if value is None and name == "rejected_irrelevant" else value


def _result(identifier: str, control: str, shown: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": identifier, "from_name": control, "to_name": shown, "type": kind, "value": value}


def _range(identifier: str, label: str, first: int, last: int) -> dict[str, Any]:
    value = {"ranges": [{"start": first, "end": last}], "timelinelabels": [label]}
    return _result(identifier, page.EVENT_CONTROL, page.VIDEO, "timelinelabels", value)


def _about(task: Task) -> str:
    """What a reviewer is told above the page: whose row it is, and what a person has to decide."""
    row = task.row_json
    named = [f"{name}: {row[name]}" for name in ("kind", "source") if isinstance(row.get(name), str)]
    decide = row.get("decide")
    asked = [f"To decide: {what}" for what in decide if isinstance(what, str)] if isinstance(decide, list) else []
    return "\n".join([", ".join([f"Row {task.row.id}", *named]), *asked])
