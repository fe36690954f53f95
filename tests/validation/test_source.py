"""What the argument of `vistadpo validate` stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.validation.source import Source, find_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text("{}")
    (tmp_path / "parts").mkdir()
    for name in ("2.jsonl", "1.jsonl"):
        (tmp_path / "parts" / name).write_text("{}")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.jsonl").write_text("{}")
    (tmp_path / "mixed" / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    ours = {"formatting": "vistadpo"}
    write_info(
        tmp_path,
        {
            "mine": {"file_name": "rows.jsonl", **ours},
            "folder": {"file_name": "parts", **ours},
            "gone": {"file_name": "gone.jsonl", **ours},
            "hub": {"hf_hub_url": "someone/rows", **ours},
            "plain": {"file_name": "rows.jsonl"},
            "table": {"file_name": "rows.parquet", **ours},
        },
    )
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    return tmp_path


def write_info(folder: Path, content: Any) -> None:
    (folder / "dataset_info.json").write_text(json.dumps(content))


def test_a_path_is_a_file_beside_its_media(folder: Path) -> None:
    path = str(folder / "rows.jsonl")
    assert find_source(path, None) == Source("rows.jsonl", (path,), str(folder))


def test_a_path_without_a_folder_lies_in_this_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_source("rows.jsonl", None) == Source("rows.jsonl", ("rows.jsonl",), ".")


def test_a_name_is_looked_up_and_its_media_start_at_the_dataset_dir(folder: Path) -> None:
    assert find_source("mine", str(folder)) == Source("mine", (str(folder / "rows.jsonl"),), str(folder))


@pytest.mark.parametrize("by_name", [True, False])
def test_a_folder_is_all_its_files_in_order(folder: Path, by_name: bool) -> None:
    source = find_source("folder", str(folder)) if by_name else find_source(str(folder / "parts"), None)
    assert [Path(file).name for file in source.files] == ["1.jsonl", "2.jsonl"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mien", "has no data set 'mien'. Did you mean 'mine'?"),
        ("zebra", "has no data set 'zebra'. It has: mine, folder, gone, hub, plain, table."),
        ("gone", "gone.jsonl: no such file"),
        ("hub", "names no `file_name`"),
        ("plain", '"formatting": "alpaca"'),
        ("table", "rows.parquet is not one"),
    ],
)
def test_a_name_that_is_no_file_of_ours(folder: Path, name: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        find_source(name, str(folder))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nope.jsonl", "--dataset-dir"),
        ("mixed", "notes.txt is not one"),
        ("empty", "is an empty folder"),
        ("rows.parquet", "JSON"),
    ],
)
def test_a_path_that_holds_no_rows(folder: Path, path: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        find_source(str(folder / path), None)
    assert says in str(caught.value) and path.split(".")[0] in str(caught.value)


@pytest.mark.parametrize("content", ["[1, 2]", "{", "", '{"mine": 3}', "\u00ff\ufeff"])
def test_a_damaged_dataset_info_is_named(folder: Path, content: str) -> None:
    (folder / "dataset_info.json").write_text(content, encoding="utf-16")
    with pytest.raises(ValueError, match=r"dataset_info\.json"):
        find_source("mine", str(folder))
    (folder / "dataset_info.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"dataset_info\.json"):
        find_source("mine", str(folder))


def test_no_dataset_info(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file; --dataset-dir is the folder"):
        find_source("mine", str(tmp_path))
