"""Rows of one recording are never mates, whatever their files are called."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from data.barcode_video import write_images, write_video

from vistadpo_plugin.data.batches.mates import NO_ROW, pair_rows
from vistadpo_plugin.data.rows import recordings as module
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import RowError, parse_row


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """a and its copies, b as long as a with one byte changed, c, two folders of the same frames and one of others."""
    write_video(tmp_path / "a.mp4", range(10))
    for name in ("copy.mp4", "another.mkv"):
        shutil.copy(tmp_path / "a.mp4", tmp_path / name)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "b.mp4").write_bytes(content)
    write_video(tmp_path / "c.mp4", range(10, 30))
    write_images(tmp_path / "frames", range(4))
    shutil.copytree(tmp_path / "frames", tmp_path / "frames_copy")
    write_images(tmp_path / "frames_other", [0, 2, 1, 3])
    return tmp_path


def rows_of(media: Path, *videos: str | tuple[str, str]) -> list[GroundedRow]:
    """Rows of files, or of (file, group); of a folder all images."""
    rows = []
    for video in videos:
        name, group = video if isinstance(video, tuple) else (video, None)
        path = media / name
        files = tuple(map(str, sorted(path.iterdir()))) if path.is_dir() else str(path)
        rows.append(GroundedRow(name, f"w:{len(rows)}", files, group=group))
    return rows


def parts(rows: list[GroundedRow]) -> set[frozenset[int]]:
    """The rows by recording."""
    names = module.recordings(rows)
    return {frozenset(i for i, other in enumerate(names) if other == name) for name in names}


def test_files_of_the_same_content_are_one_recording(media: Path) -> None:
    rows = rows_of(media, "a.mp4", "b.mp4", "copy.mp4", "c.mp4", "another.mkv")
    assert parts(rows) == {frozenset({0, 2, 4}), frozenset({1}), frozenset({3})}
    assert parts(rows_of(media, "frames", "frames_copy", "frames_other")) == {frozenset({0, 1}), frozenset({2})}


def test_a_group_is_one_recording_through_whatever_rows(media: Path) -> None:
    """b and c share group 1 in other rows; copy is a's content, and a is in c's group 2."""
    rows = rows_of(media, ("b.mp4", "1"), "copy.mp4", ("c.mp4", "1"), ("c.mp4", "2"), ("a.mp4", "2"), "b.mp4", "frames")
    assert parts(rows) == {frozenset(range(6)), frozenset({6})}


def test_what_is_not_there_counts_by_its_name(media: Path) -> None:
    assert parts(rows_of(media, "gone.mp4", "lost.mp4", "gone.mp4")) == {frozenset({0, 2}), frozenset({1})}
    assert module.recordings([None, *rows_of(media, "a.mp4")]) == [None, str(media / "a.mp4")]


def test_only_files_of_equal_length_are_read(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    content = module.content_digest
    monkeypatch.setattr(module, "content_digest", lambda files: read.extend(files) or content(files))
    module.recordings(rows_of(media, "a.mp4", "b.mp4", "c.mp4", "c.mp4"))
    assert sorted(Path(path).name for path in read) == ["a.mp4", "b.mp4"]


def test_rows_of_one_recording_are_never_mates(media: Path) -> None:
    videos = ["a.mp4", "copy.mp4", ("b.mp4", "g"), ("c.mp4", "g"), "frames", "frames_copy"] * 3
    dataset = GroundedRows(rows_of(media, *videos))
    where = [["a.mp4", "copy.mp4"], ["b.mp4", "c.mp4"], ["frames", "frames_copy"]]
    owner = [next(i for i, names in enumerate(where) if row.id in names) for row in dataset.grounded]
    for seed, epoch in itertools.product(range(5), range(5)):
        mates = pair_rows(dataset.recordings, seed, epoch)
        assert (mates != NO_ROW).all() and all(owner[row] != owner[mate] for row, mate in enumerate(mates))


def test_copies_alone_have_no_mates(media: Path) -> None:
    assert not GroundedRows(rows_of(media, "a.mp4", "copy.mp4")).has_mates
    assert not GroundedRows(rows_of(media, ("a.mp4", "g"), ("c.mp4", "g"))).has_mates
    assert GroundedRows(rows_of(media, "a.mp4", "c.mp4")).has_mates


ROW = {"video": "a.mp4", "prompt": "p", "chosen": "c", "rejected": "r"}


def test_a_group_is_text_or_a_whole_number() -> None:
    assert [parse_row({**ROW, "group": value}, "w").group for value in ("kitchen", 7, None)] == ["kitchen", "7", None]
    for value in (1.5, True, "", ["kitchen"]):
        with pytest.raises(RowError, match="`group`") as refused:
            parse_row({**ROW, "group": value}, "w")
        assert refused.value.kind == "bad-group"
