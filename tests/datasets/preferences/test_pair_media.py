"""Videos named by paths of another machine, found in the folder that is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from vistadpo_plugin.datasets.preferences.media import MediaFolder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_below_the_folder_with_any_video_ending_or_as_frames(tmp_path: Path) -> None:
    touch(tmp_path, "webvid/1.mp4", "webvid/2.mkv", "v_x.3/c01_0001.jpeg", "v_x.3/c01_0002.jpeg", "empty/notes.txt")
    media = MediaFolder(tmp_path)
    assert media.find("webvid/1.mp4") == media.find("webvid/1") == media.find("/webvid/1") == tmp_path / "webvid/1.mp4"
    assert media.find("webvid/2.mp4") == tmp_path / "webvid/2.mkv"
    assert media.find("v_x.3") == tmp_path / "v_x.3"  # a dot in a name is no ending
    assert media.find("empty") is None and media.find("webvid/3") is None and media.find("a" * 5000) is None
    assert media.expected("webvid/3.mp4") == tmp_path / "webvid/3.mp4"


def test_by_name_wherever_it_lies(tmp_path: Path) -> None:
    folder = touch(tmp_path / "here", "a/1.mp4", "b/1.mp4", "frames/v_7/0001.jpg", "c/8.mp4")
    media = MediaFolder(folder)
    assert media.find("/mnt/user/data/8.avi") == folder / "c/8.mp4"
    assert media.find("C:\\data\\8.mp4") == folder / "c/8.mp4"
    assert media.find("/mnt/all_frames/v_7") == folder / "frames/v_7"
    # The folder that the path names too; else the first, and both are known.
    assert media.find("/mnt/b/1.mp4") == folder / "b/1.mp4" and media.doubles == {}
    assert media.find("/mnt/1.mp4") == folder / "a/1.mp4"
    assert media.doubles == {"/mnt/1.mp4": [str(folder / "a/1.mp4"), str(folder / "b/1.mp4")]}


def test_a_whole_path_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    elsewhere = touch(tmp_path / "there", "1.mp4") / "1.mp4"
    assert MediaFolder(tmp_path / "here").find(str(elsewhere)) == elsewhere
    with pytest.raises(ValueError, match="nowhere does not exist"):
        MediaFolder(tmp_path / "nowhere")
