"""Paths that hold from another folder, and folder names out of ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from vistadpo_plugin.layouts.paths import FolderNames, Rebase


def test_a_path_below_the_media_folder_is_found_from_the_new_folder(tmp_path: Path) -> None:
    rebase = Rebase(tmp_path / "media", tmp_path / "out")
    (tmp_path / "out").mkdir()
    assert rebase("a/b.mp4") == "../media/a/b.mp4"
    assert rebase(["a/1.jpg", "/far/2.jpg"]) == ["../media/a/1.jpg", "/far/2.jpg"]
    assert rebase(3.5) == 3.5 and rebase(None) is None


def test_nothing_changes_where_the_folder_is_the_same(tmp_path: Path) -> None:
    assert Rebase(tmp_path, tmp_path / "x" / "..")("a/../b.mp4") == "a/../b.mp4"


def test_a_path_found_from_the_current_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader looks there too, after the media folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.mp4").touch()
    (tmp_path / "media").mkdir()
    rebase = Rebase(Path("media"), Path("out"))
    assert rebase("here.mp4") == "../here.mp4"
    assert rebase("nowhere.mp4") == "../media/nowhere.mp4"
    (tmp_path / "media" / "here.mp4").touch()
    assert rebase("here.mp4") == "../media/here.mp4"


def test_folder_names_are_safe_and_every_row_has_its_own() -> None:
    names = FolderNames()
    given = [names.give(name) for name in ("star/CSLEP", "star/CSLEP", "star/CSLEP-2", "../../etc", "a b:c", "/", "..")]
    assert given == ["star/CSLEP", "star/CSLEP-2", "star/CSLEP-2-2", "etc", "a_b_c", "row", "row-2"]
