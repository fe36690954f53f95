"""Label Studio's JSON export -> who said what of which row, still in its units."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vistadpo_plugin.annotation.label_studio import page
from vistadpo_plugin.annotation.label_studio.shape import check_shape
from vistadpo_plugin.annotation.label_studio.tasks import Task, TaskError
from vistadpo_plugin.annotation.label_studio.units import Ticks
from vistadpo_plugin.data.rows import strict_json
from vistadpo_plugin.datasets.accounting import Account

SKIPPED, NO_VERDICT = "skipped by an annotator", "an annotation without a verdict"
OTHER_CONTROL = "a result of a control that is not in our labelling configuration is not read"


class ReviewError(ValueError):
    """An annotation that no row can be made of; the message says why."""


@dataclass(frozen=True)
class Review:
    """What one annotator said of one row. Boxes are in per cents of the picture, events and keyframes in ticks."""

    annotator: str
    verdict: str
    updated: str = ""
    loaded: bool = True
    """Whether it was begun from the draft. Where not, only its verdict counts."""
    texts: dict[str, str] = field(default_factory=dict)
    events: tuple[Ticks, ...] = ()
    keyframes: tuple[int, ...] = ()
    boxes: tuple[dict[str, float], ...] = ()
    trouble: str | None = None
    """Why no row can be made of it."""


@dataclass
class Reviewed:
    """A row and its reviews, at most one of an annotator."""

    task: Task
    reviews: list[Review]


def read_export(path: Path, account: Account) -> list[Reviewed]:
    """All rows of an export in the order of its tasks; counts them, and leaves out what was not made by `export`.

    The same row in several tasks, as after a second import, is one. Raises OSError and ValueError.
    """
    try:
        tasks = strict_json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); export the project from Label Studio as JSON.") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{path} is no list of tasks; export the project from Label Studio as JSON.")
    if any("annotations" not in task and "annotator" in task for task in tasks):
        raise ValueError(f"{path} is in the format JSON-MIN, which leaves out what is needed; export it as JSON.")
    found: dict[tuple[str, str], Reviewed] = {}
    for number, value in enumerate(tasks):
        where = f"task {value.get('id', number)}"
        try:
            check_shape(value)
        except ValueError as error:
            raise ValueError(f"{path}, {where}: {error}; export the project from Label Studio as JSON.") from None
        try:
            task = Task.from_data(value.get("data"))
        except TaskError as error:
            account.read += 1
            account.leave_out("a task that is not one of ours", f"{path.name}, {where}", str(error))
            continue
        if (task.where, task.text) not in found:
            account.read += 1
            found[task.where, task.text] = Reviewed(task, [])
        reviewed = found[task.where, task.text]
        for annotation in value.get("annotations", []):
            review = _read_annotation(annotation, task.where, account)
            if review is not None:
                reviewed.reviews.append(review)
    for reviewed in found.values():
        reviewed.reviews = _last_of_each(reviewed.reviews)
    return list(found.values())


def _last_of_each(reviews: list[Review]) -> list[Review]:
    last: dict[str, Review] = {}
    for review in sorted(reviews, key=lambda review: review.updated):
        last.pop(review.annotator, None)  # so that the order stays that of saving
        last[review.annotator] = review
    return list(last.values())


def _read_annotation(annotation: dict[str, Any], where: str, account: Account) -> Review | None:
    """None for one that says nothing of the row: skipped, or without a verdict."""
    if annotation.get("was_cancelled"):
        account.note(SKIPPED, where)
        return None
    results = annotation.get("result") or []
    by_control: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_control.setdefault(str(result.get("from_name")), []).append(result.get("value") or {})
    known = {*page.TEXTS, page.EVENT_CONTROL, page.BOX_CONTROL, page.VERDICT_CONTROL}
    if by_control.keys() - known:
        account.note(OTHER_CONTROL, where, ", ".join(sorted(by_control.keys() - known)))
    choices = [choice for value in by_control.get(page.VERDICT_CONTROL, []) for choice in value.get("choices", [])]
    if len(choices) != 1 or choices[0] not in (page.ACCEPT, page.REJECT, page.UNSURE):
        account.note(NO_VERDICT, where)
        return None
    common = {
        "annotator": _annotator(annotation.get("completed_by")),
        "verdict": choices[0],
        "updated": str(annotation.get("updated_at", "")),
    }
    try:
        found = _read_results(by_control)
    except ReviewError as error:
        return Review(**common, trouble=str(error))
    loaded = annotation.get("parent_prediction") is not None or any(found.values())
    return Review(**common, loaded=loaded, **found)


def _annotator(value: Any) -> str:
    """Exports name annotators by number, snapshots by an object with an address."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return "unknown" if value is None else str(value)


def _read_results(by_control: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Texts, events, keyframes and boxes. Raises ReviewError."""
    texts = {}
    for name in page.TEXTS:
        lines = [line for value in by_control.get(name, []) for line in _list(value.get("text"))]
        if len(lines) > 1:
            raise ReviewError(f"`{name}` was given {len(lines)} times")
        if lines:
            texts[name] = lines[0]
    ranges: dict[str, list[Ticks]] = {page.EVENT: [], page.KEYFRAME: []}
    for value in by_control.get(page.EVENT_CONTROL, []):
        labels = value.get("timelinelabels") or []
        if len(labels) != 1 or labels[0] not in ranges:
            raise ReviewError(f"a range on the time line is labelled {labels}")
        try:
            parts = [sorted((int(part["start"]), int(part["end"]))) for part in value["ranges"]]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ReviewError("a range on the time line has no start or no end") from None
        ranges[labels[0]] += [(first, last) for first, last in parts]
    boxes = []
    for value in by_control.get(page.BOX_CONTROL, []):
        try:
            boxes.append({name: float(value[name]) for name in ("x", "y", "width", "height")})
            rotation = float(value.get("rotation") or 0)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ReviewError("a box has no numbers") from None
        if rotation % 360:
            raise ReviewError("a box was turned; rows have upright boxes")
    return {
        "texts": texts,
        "events": tuple(sorted(ranges[page.EVENT])),
        "keyframes": tuple(first for first, _ in ranges[page.KEYFRAME]),
        "boxes": tuple(boxes),
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
