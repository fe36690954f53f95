"""Rows are written as they were read: letter for letter, but for paths that have to change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from curation.made_entries import entry_of, row_of
from data.barcode_video import write_video
from hypothesis import given, settings
from hypothesis import strategies as st

from vistadpo_plugin.curation.entries import SKIP, STOP, Entry, find_recordings, read_entries
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.validation.source import find_source

BASE = json.dumps(row_of())[1:-1]


def read(path: Path, media_dir: Path | None = None, on_bad_row: str = STOP) -> tuple[list[Entry], Account]:
    account = Account(noun="row")
    return read_entries(find_source(str(path), None), media_dir, on_bad_row, account), account


def test_a_row_that_stays_in_its_folder_keeps_its_letters(tmp_path: Path) -> None:
    lines = [
        f'{{"weight":1.50,  "text": "\\u00e9", {BASE}, "big": 12345678901234567890, "null": null}}',
        f"  {{{BASE}}}  ",
    ]
    (tmp_path / "rows.jsonl").write_text("\ufeff" + "\r\n\r\n".join(lines), newline="")
    entries, _ = read(tmp_path / "rows.jsonl")
    assert [entry.line(tmp_path) for entry in entries] == [line.strip() for line in lines]
    assert [entry.where for entry in entries] == [f"{tmp_path}/rows.jsonl:1", f"{tmp_path}/rows.jsonl:3"]


def test_a_list_over_several_lines_becomes_a_line_a_row(tmp_path: Path) -> None:
    rows = [row_of(weight=1.5, nested={"a": [1, None]}), row_of("b.mp4")]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=2))
    lines = [entry.line(tmp_path) for entry in read(tmp_path / "rows.json")[0]]
    assert not any("\n" in line for line in lines) and list(map(json.loads, lines)) == rows


def test_paths_hold_from_the_new_folder_and_nothing_else_changes(tmp_path: Path) -> None:
    row = row_of(
        "videos/a.mp4", clip_w="clips/w", clip_l="clips/l", frame="keys/a", source="videos/a.mp4", id="videos/a.mp4"
    )
    absolute = row_of(["frames/1.png", "/far/2.png"], keyframe=3.5)
    data, out = tmp_path / "data", tmp_path / "sets" / "small"
    data.mkdir()
    (data / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, absolute)))
    first, second = (json.loads(entry.line(out)) for entry in read(data / "rows.jsonl")[0])
    up = "../../data"
    assert first == {
        **row, "video": f"{up}/videos/a.mp4", "clip_w": f"{up}/clips/w", "clip_l": f"{up}/clips/l",
        "frame": f"{up}/keys/a",
    }  # fmt: skip
    assert list(first) == list(row)
    assert second == {**absolute, "video": [f"{up}/frames/1.png", "/far/2.png"]}
    (entry, _), _ = read(data / "rows.jsonl", media_dir=tmp_path)
    assert json.loads(entry.line(out))["video"] == "../../videos/a.mp4"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=6).map(lambda name: f"mine_{name}"), VALUES, max_size=4))
def test_fields_of_ones_own_pass_unchanged_into_another_folder(fields: dict[str, Any]) -> None:
    try:
        entry = entry_of(row_of(**fields), media_dir=Path("/data"))
    except ValueError:  # half a surrogate pair, which no row may hold
        return
    written = json.loads(entry.line(Path("/elsewhere")))
    assert written == row_of("../data/a.mp4", **fields)


def test_a_row_that_cannot_be_read_stops_with_its_file_and_place(tmp_path: Path) -> None:
    bad = [
        f'{{{BASE}, "id": 1}}',
        "{",
        f'{{{BASE}, "chosen": ""}}',
        f'{{{BASE}, "boxx": 1}}',
        "[1]",
        f'{{{BASE}, "event": 3}}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(bad))
    with pytest.raises(ValueError) as caught:
        read(tmp_path / "rows.jsonl")
    said = str(caught.value)
    assert said.startswith("5 rows of rows.jsonl cannot be read:")
    assert f"{tmp_path}/rows.jsonl:2: not valid JSON" in said
    assert f'{tmp_path}/rows.jsonl:3: the key "chosen" is given twice' in said
    assert f"{tmp_path}/rows.jsonl:4: unknown field `boxx`; did you mean `box`" in said
    assert "... and 2 more" in said and "--on-bad-row skip" in said
    entries, account = read(tmp_path / "rows.jsonl", on_bad_row=SKIP)
    assert [entry.row.id for entry in entries] == ["1"] and account.read == 6
    counted = {kind: [os.path.basename(where) for where, _ in places] for kind, places in account.left_out.items()}
    assert counted == {
        "bad-json": ["rows.jsonl:2", "rows.jsonl:5"], "repeated-key": ["rows.jsonl:3"],
        "misspelt-field": ["rows.jsonl:4"], "bad-event": ["rows.jsonl:6"],
    }  # fmt: skip


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """a.mp4 and its copy under another name; b.mp4."""
    write_video(tmp_path / "a.mp4", range(10))
    (tmp_path / "copy.mkv").write_bytes((tmp_path / "a.mp4").read_bytes())
    write_video(tmp_path / "b.mp4", range(20, 30))
    return tmp_path


def parts(entries: list[Entry], **options: bool) -> set[frozenset[int]]:
    names = find_recordings(entries, **options).names
    return {frozenset(i for i, other in enumerate(names) if other == name) for name in names}


def test_one_recording_under_many_names(media: Path) -> None:
    """The ending left out, a longer way, an absolute path, a copy; and by group, which a merge does not ask for."""
    videos = ["a.mp4", "a", f"../{media.name}/a.mp4", str(media / "a.mp4"), "copy.mkv", "b.mp4"]
    entries = [entry_of(row_of(video), media_dir=media) for video in videos]
    assert parts(entries) == {frozenset(range(5)), frozenset({5})}
    grouped = [
        *entries,
        entry_of(row_of("b.mp4", group=7), media_dir=media),
        entry_of(row_of(group="7"), media_dir=media),
    ]
    assert parts(grouped) == {frozenset(range(8))}
    assert parts(grouped, by_group=False) == {frozenset({0, 1, 2, 3, 4, 7}), frozenset({5, 6})}


def test_videos_that_are_not_there_are_told_apart_by_name(media: Path) -> None:
    videos = ["gone", "gone.mp4", "./gone.MKV", "gone.too", "b.mp4"]
    entries = [entry_of(row_of(video), media_dir=media) for video in videos]
    assert parts(entries) == {frozenset({0, 1, 2}), frozenset({3}), frozenset({4})}
    found = find_recordings(entries)
    assert found.absent == ["gone", "gone.mp4", "./gone.MKV", "gone.too"]
    assert "4 videos not found, as gone;" in (found.warning() or "")
    assert find_recordings(entries[4:]).warning() is None


def test_rows_that_share_a_rejected_video_go_together(media: Path) -> None:
    """A counterfactual and its original, each the other's rejected video; a clip that two rows reject."""
    rows = [
        row_of("a.mp4", rejected_video="b.mp4"),
        row_of("b.mp4"),
        row_of("x.mp4", event=[0, 1], rejected_clip="clip.mp4"),
        row_of("y.mp4", event=[0, 1], rejected_clip=["clip", "other.mp4"]),
        row_of("z.mp4", rejected_video=["c1.mp4", "c2.mp4"]),
    ]
    entries = [entry_of(row, media_dir=media) for row in rows]
    assert parts(entries) == {frozenset({n}) for n in range(5)}
    assert parts(entries, with_rejected=True) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4})}
