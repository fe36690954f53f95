"""The whole way through a real Label Studio: tasks imported, media served, annotations saved, the export read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from annotation.label_studio_made import draft_of, result, verdict
from annotation.label_studio_server import COMMAND, NO_COMMAND, label_studio
from annotation.test_label_studio_edits import LINES
from data.barcode_video import draw, write_video

from vistadpo_plugin.commands.annotate.export import main as export
from vistadpo_plugin.commands.annotate.import_rows import main as import_rows
from vistadpo_plugin.demo.shapes import build_videos

pytestmark = pytest.mark.skipif(COMMAND is None, reason=NO_COMMAND)


def test_rows_come_back_from_the_real_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = build_videos(tmp_path / "rows", 6, seed=1)
    write_video(tmp_path / "rows/a.mp4", range(40))
    (tmp_path / "rows/f").mkdir()
    for number in (1, 2, 3):
        draw(number).save(tmp_path / f"rows/f/{number}.png")
    draw(7).save(tmp_path / "rows/key.png")
    lines = rows.read_text().splitlines()
    exact = lines + LINES
    rows.write_text("".join(f"{line}\n" for line in [*exact, *lines[:3]]))
    assert export([str(rows), "--to", "label-studio", str(tmp_path / "review")]) == 0

    with label_studio(tmp_path) as server:
        project = server.make_project(tmp_path / "review")
        tasks = server.tasks(project)
        assert len(tasks) == len(exact) + 3
        drafts = [task["predictions"][0]["result"] for task in tasks]
        for task in tasks[:2]:
            assert server.get(task["data"]["video"])[4:8] == b"ftyp"
            assert server.get(task["data"]["picture"])[:3] == b"\xff\xd8\xff"
        second, third = (
            server.call("POST", "/api/users/", {"email": f"{name}@example.org", "username": name})["id"]
            for name in ("second", "third")
        )

        def annotate(index: int, results: list[dict[str, Any]], choice: str, by: int = 1) -> None:
            body = {"result": [*results, verdict(choice)], "completed_by": by}
            server.call("POST", f"/api/tasks/{tasks[index]['id']}/annotations/", body)

        for index in range(len(exact)):
            annotate(index, drafts[index], "accept")
        edited = draft_of(tasks[len(exact)])
        result(edited, "chosen")["text"] = ["Édité\n<b>&</b>"]
        annotate(len(exact), edited, "accept")
        annotate(len(exact) + 1, drafts[len(exact) + 1], "reject")
        annotate(len(exact) + 2, drafts[len(exact) + 2], "unsure")
        annotate(0, drafts[0], "accept", second)
        annotate(1, drafts[1], "reject", second)
        annotate(1, drafts[1], "accept", third)
        path = server.export(project, tmp_path / "export.json")

    assert import_rows([str(path), "-o", str(tmp_path / "rows/back.jsonl")]) == 0
    back = (tmp_path / "rows/back.jsonl").read_text().splitlines()
    assert back[:-1] == exact
    assert json.loads(back[-1]) == {**json.loads(lines[0]), "chosen": "Édité\n<b>&</b>"}
    told = capsys.readouterr().out
    assert "left out: rejected" in told and "left out: unsure" in told and "`chosen` edited" in told
    # The first and the second judged two rows: accept and accept, accept and reject.
    assert "| 1 and 2 | 2 | 50% | 0.00 | 1.00 (1 rows) | 1.00 (1 rows) |" in told
    assert "example.org" not in told + (tmp_path / "rows/back.card.md").read_text()
