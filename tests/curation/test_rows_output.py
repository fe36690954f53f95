"""Files of one split are never seen half old and half new, and nothing that is there is replaced unasked."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from curation.made_entries import entry_of, row_of

from vistadpo_plugin.curation.output import plan_output, write_together
from vistadpo_plugin.datasets.accounting import Account


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def killed_before(change: int, work: Callable[[], None]) -> bool:
    """Do the work in a child that is gone just before its n-th removal or renaming; whether it came so far."""
    child = os.fork()
    if child == 0:
        changes = itertools.count(1)
        sys.addaudithook(
            lambda event, _: os._exit(9) if event in ("os.remove", "os.rename") and next(changes) == change else None
        )
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_anywhere_it_leaves_no_row_on_two_sides(tmp_path: Path) -> None:
    """Row 1 was trained on and row 2 held out; now it is the other way round, and there are no test rows any more. Two
    files go (validation, test), two are put in place."""
    old = {"a.jsonl": "1\n", "a_val.jsonl": "2\n", "a_test.jsonl": "3\n"}
    new = {"a.jsonl": "2\n", "a_val.jsonl": "1\n"}
    lines = {tmp_path / name: content.splitlines() for name, content in new.items()}
    for change in range(1, 6):
        for name, content in old.items():
            (tmp_path / name).write_text(content)
        killed = killed_before(change, lambda: write_together(lines, [tmp_path / "a_test.jsonl"]))
        assert killed == (change < 5)
        left = files(tmp_path)
        rows = {name: content for name, content in left.items() if not name.endswith(".part")}
        assert rows and (rows.items() <= old.items() or rows.items() <= new.items())
    assert left == new


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("old\n")
    with pytest.raises(OSError):
        write_together({tmp_path / "a.jsonl": ["new"], tmp_path / "nowhere" / "b.jsonl": ["new"]})
    assert files(tmp_path) == {"a.jsonl": "old\n"}


def test_the_list_of_data_sets_keeps_its_others(tmp_path: Path) -> None:
    listed = {"mine": {"file_name": "mine.jsonl"}, "a_val": {"file_name": "a_val.jsonl", "formatting": "vistadpo"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(listed))
    (tmp_path / "a_val.jsonl").write_text("old\n")
    with pytest.raises(ValueError, match="a_val.jsonl is there already; give --overwrite"):
        plan_output(tmp_path / "a.jsonl", None, [], False, parts=(), possible=("val",))
    planned = plan_output(tmp_path / "a.jsonl", None, [], True, parts=("test",), possible=("val", "test"))
    planned.write([[entry_of(row_of(id=1))], [entry_of(row_of(id=2))]], Account())
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "a_test.jsonl", "dataset_info.json"}
    entry = {name: {"file_name": f"{name}.jsonl", "formatting": "vistadpo"} for name in ("a", "a_test")}
    assert json.loads((tmp_path / "dataset_info.json").read_text()) == {"mine": {"file_name": "mine.jsonl"}, **entry}


def test_what_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    (tmp_path / "dataset_info.json").write_text('{"taken": {"file_name": "other.jsonl"}}')
    given = str(tmp_path / "in.jsonl")
    for path, name, said in [
        ("rows.json", None, "has to end in .jsonl"),
        ("sub/../in.jsonl", None, "is read as input"),
        ("rows.jsonl", "taken", "lists another data set named 'taken'"),
    ]:
        with pytest.raises(ValueError, match=said):
            plan_output(tmp_path / path, name, [given], True)
    with pytest.raises(ValueError, match="in.jsonl is there already"):
        plan_output(tmp_path / "in.jsonl", None, [], False)
