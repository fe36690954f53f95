"""`vistadpo validate` and a training run say the same of the same rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, Run, write_rows

from vistadpo_plugin.training.bad_rows import SKIPPED_ROWS
from vistadpo_plugin.training.summary import term_table
from vistadpo_plugin.validation.examine import Options, examine
from vistadpo_plugin.validation.source import find_source


@pytest.fixture
def host_log() -> Iterator[list[str]]:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("llamafactory.vistadpo").addHandler(handler)
    yield messages
    logging.getLogger("llamafactory.vistadpo").removeHandler(handler)


def odd_rows(rows: list[dict[str, Any]], folder: Path) -> list[Any]:
    """The demo's rows, with something wrong in most: half of it makes the row unusable, half switches a term off."""
    (folder / "text.mp4").write_text("no video")
    changes: list[dict[str, Any]] = [
        {}, {"rejected": " "}, {"event": [90, 91]}, {"event": [0, 1000]}, {"event": [0.01, 0.02]},
        {"box": [1, 1, 0, 0]}, {"box": [900, 1, 5, 5]}, {"keyframe": 77}, {"keyframe": None},
        {"video": "videos/gone.mp4"}, {"video": str(folder / "text.mp4")}, {"rejctd": "x"},
        {"prompt": "<video> and <video>?"}, {"chosen": 7}, {"rejected_irrelevant": ""}, {},
    ]  # fmt: skip
    return [{**row, **change} for row, change in zip(rows, changes, strict=True)]


def test_training_skips_and_counts_what_validate_reports(
    demo: Demo, train: Callable[..., Run], host_log: list[str], tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows", odd_rows(demo.rows, tmp_path))
    report = examine(find_source("rows", str(path.parent)), Options(str(demo.data), given=True))
    errors = {finding.where: finding.message for finding in report.findings if finding.severity == "error"}
    assert len(errors) == 9 and len(report.usable) == 7

    run = train(dataset="rows", dataset_dir=str(path.parent), vista_on_bad_row="skip", max_steps=1)
    skipped = [json.loads(line) for line in (run.folder / SKIPPED_ROWS).read_text().splitlines()]
    assert {entry["row"]: entry["reason"] for entry in skipped} == errors
    (summary,) = [message for message in host_log if "VistaDPO train dataset" in message]
    assert "\n".join(term_table(report.usable, report.vista.weights, report.view_keys)) in summary
