"""What Label Studio makes of our tasks, where a test does without its server: its JSON export of a review.

The shapes are those of an export of Label Studio 1.23.2 whose annotations were made in its page: results of a
pre-annotation that nobody touched come back with the same ids and values, the verdict is one more result.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

Results = list[dict[str, Any]]


def verdict(choice: str) -> dict[str, Any]:
    """The result of the choice below the page."""
    value = {"choices": [choice]}
    return {"id": "Pyou6IiFzD", "from_name": "verdict", "to_name": "video", "type": "choices", "value": value}


def annotation(
    results: Results, choice: str | None = "accept", by: Any = 1, updated: str = "2026-01-01T00:00:00Z", **more: Any
) -> dict[str, Any]:
    """One annotation: results, and a verdict unless `choice` is None."""
    said = [*results, *([verdict(choice)] if choice else [])]
    return {"completed_by": by, "was_cancelled": False, "updated_at": updated, "result": said, **more}


def draft_of(task: dict[str, Any]) -> Results:
    """The results of a task's pre-annotation, to be changed by the caller."""
    return copy.deepcopy(task["predictions"][0]["result"])


def read_tasks(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "tasks.json").read_text())


def write_export(path: Path, tasks: list[dict[str, Any]], annotations: list[list[dict[str, Any]]]) -> Path:
    """The export of a project with these tasks and the annotations of each."""
    made = [
        {"id": number, "data": task["data"], "annotations": said, "drafts": [], "predictions": [number]}
        for number, (task, said) in enumerate(zip(tasks, annotations, strict=True), start=1)
    ]
    path.write_text(json.dumps(made))
    return path


def result(results: Results, identifier: str) -> dict[str, Any]:
    """The value of the result with this id."""
    return next(each for each in results if each["id"] == identifier)["value"]
