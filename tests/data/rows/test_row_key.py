"""A row's key changes with all that a model's numbers for the row depend on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.row_key import row_key


@pytest.fixture
def row(tmp_path: Path) -> dict[str, Any]:
    """Arguments of `row_key`: a row with every kind of file, and a mate."""
    for name in ("own.mp4", "clip.png", "negative.png", "key.png", "mate.mp4", "image.png", "second.mp4", "frame.png"):
        (tmp_path / name).write_bytes(name.encode())
    grounding = GroundedRow(
        "7",
        "rows.jsonl:1 (id 7)",
        str(tmp_path / "own.mp4"),
        events=((1.0, 2.0),),
        clip_images=(str(tmp_path / "clip.png"),),
        clip_negative_images=(str(tmp_path / "negative.png"),),
        keyframe=str(tmp_path / "key.png"),
        boxes=((1.0, 2.0, 3.0, 4.0),),
    )
    columns = {
        "where": "rows.jsonl:1 (id 7)",
        "grounded": grounding.to_json(),
        "prompt": '{"messages": []}',
        "images": [str(tmp_path / "image.png")],
        "videos": [str(tmp_path / "second.mp4"), [str(tmp_path / "frame.png")]],
        "chosen_ids": [1, 2, 3],
        "rejected_ids": [1, 2],
        "irrelevant_ids": [],
        "text_tokens": 12,
        "error": "",
    }
    mate = GroundedRow("8", "rows.jsonl:2 (id 8)", str(tmp_path / "mate.mp4"))
    return {"row": columns, "grounding": grounding, "mate": mate}


def test_key_of_the_same_row_is_the_same(row: dict[str, Any]) -> None:
    assert row_key(**row) == row_key(**row)
    assert len(row_key(**row)) == 64


@pytest.mark.parametrize("column", ["where", "grounded", "prompt", "chosen_ids", "rejected_ids", "irrelevant_ids"])
def test_key_depends_on_the_column(row: dict[str, Any], column: str) -> None:
    value = row["row"][column]
    changed = [*value, 4] if isinstance(value, list) else value + " "
    assert row_key(**{**row, "row": {**row["row"], column: changed}}) != row_key(**row)


def test_key_does_not_mistake_one_answer_for_another(row: dict[str, Any]) -> None:
    swapped = {"chosen_ids": row["row"]["rejected_ids"], "rejected_ids": row["row"]["chosen_ids"]}
    assert row_key(**{**row, "row": {**row["row"], **swapped}}) != row_key(**row)


@pytest.mark.parametrize(
    "name", ["own.mp4", "clip.png", "negative.png", "key.png", "mate.mp4", "image.png", "second.mp4", "frame.png"]
)
def test_key_depends_on_size_and_time_of_the_file(row: dict[str, Any], tmp_path: Path, name: str) -> None:
    before, path = row_key(**row), tmp_path / name
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    touched = row_key(**row)
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({before, touched, row_key(**row)}) == 3


def test_key_depends_on_every_frame_of_a_list(row: dict[str, Any], tmp_path: Path) -> None:
    frames = [tmp_path / f"{number}.jpg" for number in range(3)]
    for frame in frames:
        frame.write_bytes(b"frame")
    row["mate"] = replace(row["mate"], video=tuple(map(str, frames)))
    keys = {row_key(**row)}
    for frame in frames:
        frame.write_bytes(b"another")
        keys.add(row_key(**row))
    assert len(keys) == 4


def test_key_depends_on_the_mate(row: dict[str, Any]) -> None:
    others = [None, replace(row["mate"], where="rows.jsonl:3"), replace(row["mate"], events=((0.0, 1.0),))]
    assert len({row_key(**row), *(row_key(**{**row, "mate": mate}) for mate in others)}) == 4


def test_key_of_a_row_of_text(row: dict[str, Any]) -> None:
    columns = {**row["row"], "grounded": "", "images": None, "videos": None}
    assert row_key(columns, None, None) != row_key(**row)
