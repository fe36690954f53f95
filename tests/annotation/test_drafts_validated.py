"""Drafts are held against what `validate` checks: errors leave, warnings are marked, notes are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from annotation.shapes_endpoint import make_films

from vistadpo_plugin.annotation.drafting.judge import judge_drafts
from vistadpo_plugin.datasets.accounting import Account


def test_errors_leave_warnings_are_marked_and_notes_are_counted(tmp_path: Path) -> None:
    make_films(tmp_path / "videos", 1)
    row: dict[str, Any] = {
        "id": "good",
        "video": "videos/0.mp4",
        "prompt": "What does it do?",
        "chosen": "It moves up.",
        "rejected": "It moves down.",
        "event": [0.5, 1.5],
        "checks": {"box_iou": 0.2},
        "decide": ["Is `box` right?"],
    }
    rows = [
        row,
        {**row, "id": "gone", "video": "videos/1.mp4"},
        {**row, "id": "fills", "event": [0.0, 3.0], "prompt": "What happens?"},
        {**row, "id": "again", "rejected": "It grows."},
    ]
    account = Account(noun="draft", done="asked for", read=4)
    judged, of_all = judge_drafts(rows, tmp_path, "drafts.jsonl", account, lambda results, _: results, 1, 60.0)
    good, fills, again = judged
    assert good == {**row, "checks": {"valid": True, "box_iou": 0.2}} and again["checks"]["valid"]
    assert fills["checks"] == {"valid": False, "box_iou": 0.2}
    assert fills["decide"][0].startswith("validate, event-fills-video: no stretch of 1 s")
    assert fills["decide"][1:] == row["decide"]
    assert {reason: [place for place, _ in places] for reason, places in account.left_out.items()} == {
        "validate: a file or folder was not found": ["gone"]
    }
    notes = {remark: [place for place, _ in places] for remark, places in account.noted.items()}
    assert notes == {"validate: video and question are those of an earlier row, with other answers": ["again"]}
    assert [finding.kind for finding in of_all] == ["one-video"]
    account.written = len(judged)
    account.check()
