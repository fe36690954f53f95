"""The files of a cache: what is written is what is read, or it is computed again; and where nothing can be written."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import keep_log

from vistadpo_plugin.data.batches.known_scores import ViewScores
from vistadpo_plugin.reference.cache import ReferenceCache


@pytest.fixture
def said() -> Iterator[list[str]]:
    with keep_log([]) as messages:
        yield messages


SCORES = ViewScores({"chosen": -3.5, "rejected": -0.25}, {"chosen": torch.arange(6.0).reshape(3, 2)})
ANSWERS = {"chosen", "rejected"}


def same(one: ViewScores, other: ViewScores) -> bool:
    return (
        one.log_probs == other.log_probs
        and one.hidden.keys() == other.hidden.keys()
        and all(torch.equal(value, other.hidden[name]) for name, value in one.hidden.items())
    )


def file_of(cache: ReferenceCache, key: str) -> Path:
    (path,) = cache.folder.rglob(f"{key}.safetensors")
    return path


def test_a_view_written_is_the_view_read(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path / "a" / "b"), {})
    assert cache.lacking("ab12", {"chosen"}) == {"chosen"}
    cache.write("ab12", SCORES, "row 1")
    assert same(cache.read("ab12"), SCORES)
    assert cache.lacking("ab12", ANSWERS, {"chosen"}) == set()
    assert cache.lacking("ab12", {"chosen", "irrelevant"}, {"rejected"}) == {"irrelevant", "rejected"}
    assert cache.lacking("ab13", {"chosen"}) == {"chosen"}
    assert not cache.damaged


def test_bfloat16_states_stay_bfloat16(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    states = torch.randn(3, 4, dtype=torch.bfloat16)
    cache.write("ab12", ViewScores({"chosen": -1.0}, {"chosen": states}), "row 1")
    assert torch.equal(cache.read("ab12").hidden["chosen"], states)


def test_writing_more_of_a_view_keeps_the_rest(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    cache.write("ab12", SCORES, "row 1")
    states = {"irrelevant": torch.ones(2, 2)}
    cache.write("ab12", ViewScores({"rejected": -0.5, "irrelevant": -1.0}, states), "row 1")
    expected = {"chosen": -3.5, "rejected": -0.5, "irrelevant": -1.0}
    assert same(cache.read("ab12"), ViewScores(expected, {**SCORES.hidden, **states}))


def test_a_view_that_went_away_during_the_run_is_named(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    with pytest.raises(ValueError, match="ab12.safetensors cannot be read.*changed during the run.*machines share"):
        cache.read("ab12")
    cache.write("ab12", SCORES, "row 1")
    with pytest.raises(ValueError, match="ab12.safetensors cannot be read: it has no irrelevant any more"):
        cache.read("ab12", {"chosen", "irrelevant"})


def test_every_byte_of_a_file_counts(tmp_path: Path) -> None:
    """Any one byte changed, at every place: the file is damaged, or says what it said (padding, a name's case)."""
    cache = ReferenceCache(str(tmp_path), {"weights": "x"})
    cache.write("ab12", SCORES, "row 1")
    path = file_of(cache, "ab12")
    content = path.read_bytes()
    harmless = 0
    for place in range(len(content)):
        for bit in (0x01, 0x40):
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            cache.damaged.clear()
            if cache.lacking("ab12", ANSWERS, {"chosen"}):
                assert list(cache.damaged) == [path]
                with pytest.raises(ValueError, match="ab12.safetensors cannot be read: "):
                    cache.read("ab12")
            else:
                harmless += 1
                assert same(cache.read("ab12"), SCORES)
    assert harmless <= 16, "spaces that fill up the header"


def test_a_file_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    cache.write("ab12", SCORES, "row 1")
    path = file_of(cache, "ab12")
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert cache.lacking("ab12", ANSWERS) == ANSWERS, size


def test_the_file_of_another_view_or_reference_is_damaged(tmp_path: Path) -> None:
    """Of the same shape, whole, and under the name of this one."""
    cache, other = ReferenceCache(str(tmp_path / "one"), {"w": "1"}), ReferenceCache(str(tmp_path / "two"), {"w": "2"})
    for one, key in ((cache, "ab12"), (cache, "ab13"), (other, "ab12")):
        one.write(key, SCORES, "row 1")
    path = file_of(cache, "ab12")
    for content, reason in (
        (file_of(cache, "ab13").read_bytes(), "it is the file of ab13"),
        (file_of(other, "ab12").read_bytes(), "its checksum is another"),
    ):
        path.write_bytes(content)
        assert cache.lacking("ab12", ANSWERS) == ANSWERS
        assert cache.damaged == {path: reason}


BAD = [
    ViewScores({"chosen": float("nan")}, {}),
    ViewScores({"chosen": float("-inf")}, {}),
    ViewScores({"chosen": -1.0}, {"chosen": torch.tensor([[0.0, float("inf")]])}),
]


@pytest.mark.parametrize("scores", BAD, ids=["nan", "inf", "hidden states"])
def test_values_that_are_not_finite_are_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: ViewScores
) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    with pytest.raises(ValueError, match=r"rows.jsonl:3 \(id 7\): what the reference says of `chosen` is not finite"):
        cache.write("ab12", scores, "rows.jsonl:3 (id 7)")
    assert not list(tmp_path.rglob("ab12*"))
    with monkeypatch.context() as patch:
        patch.setattr(ViewScores, "not_finite", lambda self: None)
        cache.write("ab12", scores, "row 1")
    assert cache.lacking("ab12", {"chosen"}) == {"chosen"}
    assert list(cache.damaged.values()) == ["a value is not finite"]


def test_a_reader_sees_whole_files_only(tmp_path: Path) -> None:
    """Somebody else reads all the while: every time one of the two contents, complete."""
    cache = ReferenceCache(str(tmp_path), {})
    contents = [ViewScores({"x": float(n)}, {"x": torch.full((200, 64), float(n))}) for n in (0, 1)]
    cache.write("ab12", contents[0], "row 1")
    done = threading.Event()

    def write() -> None:
        for turn in range(150):
            cache.write("ab12", contents[turn % 2], "row 1")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        assert not cache.lacking("ab12", {"x"}, {"x"})
        row = cache.read("ab12")
        value = row.log_probs["x"]
        assert bool((row.hidden["x"] == value).all())
        seen.add(value)
    writer.join()
    assert seen == {0.0, 1.0}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["ab12.safetensors", "manifest.json"]


def test_a_run_stopped_while_it_writes_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ReferenceCache(str(tmp_path), {})
    cache.write("ab12", SCORES, "row 1")

    def stopped(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        cache.write("ab12", ViewScores({"chosen": -9.0}, {}), "row 1")
    with pytest.raises(KeyboardInterrupt):
        cache.write("ab13", SCORES, "row 2")
    monkeypatch.undo()
    again = ReferenceCache(str(tmp_path), {})
    assert same(again.read("ab12"), SCORES)
    assert again.lacking("ab13", ANSWERS) == ANSWERS


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a loss of power may leave zeros under a name that is known."""
    done: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("fsync", os.fstat(descriptor).st_size))

    def renamed(source: Path, target: Path) -> None:
        done.append((target.name, source.stat().st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    ReferenceCache(str(tmp_path), {}).write("ab12", SCORES, "row 1")
    assert [name for name, _ in done] == ["fsync", "manifest.json", "fsync", "ab12.safetensors"]
    assert done[0][1] == done[1][1] > 0 and done[2][1] == done[3][1] > 0


# --- where it cannot be written --------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_a_sentence() -> None:
    """As another user where the tests are root's; what is there already can be used."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "cache"
        ReferenceCache(str(folder), {}).write("ab12", SCORES, "row 1")
        for path in (Path(made), folder, folder / "ab"):
            path.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            cache = ReferenceCache(str(folder), {})
            assert same(cache.read("ab12"), SCORES)
            for key in ("ab13", "cd12"):
                with pytest.raises(
                    ValueError,
                    match=rf"`vista_reference_cache: {folder}`: {folder}/{key[:2]}/{key}.safetensors cannot be "
                    "written: Permission denied. Make room, or make it writable, or name another folder. What is there",
                ):
                    cache.write(key, SCORES, "row 2")
            with pytest.raises(ValueError, match="manifest.json cannot be written: Permission denied"):
                ReferenceCache(f"{made}/new", {})
        finally:
            os.seteuid(user)
            for path in (Path(made), folder, folder / "ab"):
                path.chmod(0o755)


def test_a_path_below_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`vista_reference_cache: .*/file/cache` cannot be read: Not a directory."):
        ReferenceCache(str(tmp_path / "file" / "cache"), {})


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="a folder with other files in it and no manifest.json. Name a new folder."):
        ReferenceCache(str(tmp_path), {"seed": "1"})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": 3}', '{"other": {}}', "null"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="manifest.json is damaged: delete the folder, or name another one."):
        ReferenceCache(str(tmp_path), {"seed": "1"})


def test_identity_names_all_that_differs(tmp_path: Path) -> None:
    ReferenceCache(str(tmp_path), {"seed": "1", "frames": "8", "gone": "x"})
    with pytest.raises(
        ValueError, match=r"\(gone: x there, None here; new: None there, y here; seed: 1 there, 2 here\)"
    ):
        ReferenceCache(str(tmp_path), {"seed": "2", "frames": "8", "new": "y"})
    ReferenceCache(str(tmp_path), {"gone": "x", "frames": "8", "seed": "1"})


def test_a_manifest_that_changed_is_not_believed(tmp_path: Path, said: list[str]) -> None:
    """Every byte of it: it is damaged, or says the same. The views' files vouch for it where there are any."""
    identity = {"frames": "8", "weights of the reference": '"00ab"'}
    ReferenceCache(str(tmp_path), identity)
    manifest = tmp_path / "manifest.json"
    content = manifest.read_bytes()
    refused = 0
    for place in range(len(content)):
        manifest.write_bytes(content[:place] + bytes([content[place] ^ 0x01]) + content[place + 1 :])
        try:
            ReferenceCache(str(tmp_path), identity)
        except ValueError as error:
            assert "is damaged: delete the folder" in str(error)
            refused += 1
    assert refused > len(content) - 10, "line breaks and spaces"
    manifest.write_bytes(content)
    ReferenceCache(str(tmp_path), identity).write("ab12", SCORES, "row 1")
    for damaged in (b"", bytes(len(content)), None):
        manifest.unlink()
        if damaged is not None:
            manifest.write_bytes(damaged)
        assert same(ReferenceCache(str(tmp_path), identity).read("ab12"), SCORES)
        assert manifest.read_bytes() == content
        assert "say that they are of this reference" in said[-1]
    manifest.write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged: delete the folder, or name another one."):
        ReferenceCache(str(tmp_path), {**identity, "frames": "16"})
