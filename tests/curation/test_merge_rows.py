"""Several files as one: copies go and are named, whatever else repeats is named and stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation.made_entries import entry_of, row_of
from hypothesis import given, settings
from hypothesis import strategies as st

from vistadpo_plugin.curation.entries import Entry
from vistadpo_plugin.curation.merge import COPY, REMARKS, merge_entries
from vistadpo_plugin.datasets.accounting import Account


def entries(rows: list[dict[str, Any]], file: str, folder: Path) -> list[Entry]:
    return [entry_of(row, f"{file}:{number}", folder) for number, row in enumerate(rows, 1)]


def test_copies_and_what_only_repeats(tmp_path: Path) -> None:
    first = [row_of("v/a.mp4", id=1, box=[1, 2, 3, 4]), row_of("v/b.mp4", id=2), row_of("v/c.mp4", id=3, chosen="Yes.")]
    other = [
        row_of("a.mp4", id=1, box=[1, 2, 3, 4]),  # the very row, seen from the folder v
        row_of("a.mp4", box=[1, 2, 3, 4], id=1),  # again, its fields in another order
        row_of("a.mp4", id=1, box=[1, 2, 3, 5]),  # another box
        row_of("c.mp4", id=4, rejected="yes"),  # what the third row says is right
        row_of("c.mp4", id=5, chosen="Maybe."),  # only another answer
    ]
    account = Account(noun="row")
    kept = merge_entries([*entries(first, "x", tmp_path), *entries(other, "y", tmp_path / "v")], False, account)
    assert [entry.where for entry in kept] == [f"x:{n} (id {n})" for n in (1, 2, 3)] + [
        "y:3 (id 1)",
        "y:4 (id 4)",
        "y:5 (id 5)",
    ]
    assert dict(account.left_out) == {COPY: [("y:1 (id 1)", "as x:1 (id 1)"), ("y:2 (id 1)", "as x:1 (id 1)")]}
    assert dict(account.noted) == {
        REMARKS["repeated-id"]: [("y:3 (id 1)", "as x:1 (id 1)")],
        REMARKS["repeated-row"]: [("y:3 (id 1)", "as x:1 (id 1)")],
        REMARKS["contradiction"]: [("y:4 (id 4)", "a rejected answer is `chosen` in x:3 (id 3)")],
    }
    twice = Account(noun="row")
    assert len(merge_entries([*entries(first, "x", tmp_path), *entries(first, "x", tmp_path)], True, twice)) == 6
    assert not twice.left_out


ROWS = st.lists(st.tuples(st.sampled_from(["a.mp4", "b.mp4"]), st.integers(0, 2), st.integers(0, 2)), max_size=12)


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_every_row_is_there_once_or_named_as_a_copy_of_one_that_is(files: list[list[tuple[str, int, int]]]) -> None:
    read = [
        entry
        for number, rows in enumerate(files)
        for entry in entries([row_of(video, id=name, box=[0, 0, 1, size + 1]) for video, name, size in rows],
                             f"file{number}", Path("/media"))
    ]  # fmt: skip
    account = Account(noun="row")
    kept = merge_entries(read, False, account)
    by_place = {entry.where: entry.fields for entry in read}
    copies = dict(account.left_out.get(COPY, []))
    assert [entry.where for entry in read if entry.where not in copies] == [entry.where for entry in kept]
    for where, detail in copies.items():
        original = detail.removeprefix("as ")
        assert by_place[where] == by_place[original] and original in {entry.where for entry in kept}
    distinct = {tuple(map(str, entry.fields.items())) for entry in read}
    assert len(kept) == len(distinct)
