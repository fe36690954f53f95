"""Where videos are found, how rows name them, and the rate at which their frames are numbered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from data.barcode_video import write_video

from vistadpo_plugin.data.video.video import VideoError
from vistadpo_plugin.datasets.videos import VideoIndex, frame_rate, path_for


def test_videos_are_found_in_sub_folders_by_their_names(tmp_path: Path) -> None:
    for name in ("b/2/7.MP4", "a/7.mkv", "5.webm", "6.txt", "6.mp4.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = VideoIndex(tmp_path)
    assert videos.find("5") == tmp_path / "5.webm"
    assert videos.find("6") is None and videos.expected("6") == tmp_path / "6.mp4"
    # The first in order of folders is taken, and the other is known.
    assert videos.find("7") == tmp_path / "a" / "7.mkv"
    assert videos.doubles == {"7": [str(tmp_path / "a" / "7.mkv"), str(tmp_path / "b" / "2" / "7.MP4")]}
    with pytest.raises(ValueError, match="nowhere does not exist"):
        VideoIndex(tmp_path / "nowhere")


def test_videos_that_are_folders_of_frames(tmp_path: Path) -> None:
    for name in (
        "bbt_frames/clip_1/00001.jpg",
        "bbt_frames/clip_1/00002.jpg",
        "x/clip_2/1.PNG",
        "clip_3/a.txt",
        "4.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = VideoIndex(tmp_path, frames_per_second=3.0)
    assert videos.find("clip_1") == tmp_path / "bbt_frames" / "clip_1"
    assert videos.find("clip_2") == tmp_path / "x" / "clip_2"
    assert videos.find("clip_3") is None and videos.expected("clip_3") == tmp_path / "clip_3"
    assert videos.find("4") is None and VideoIndex(tmp_path).find("4") is not None


def test_a_row_names_a_video_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "1.mp4").touch()
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    monkeypatch.chdir(tmp_path)
    for folder in (Path("real/deep"), Path("link"), Path(".")):
        path = path_for(Path("videos/1.mp4"), folder)
        assert not os.path.isabs(path) and (folder / path).is_file()
    assert path_for(tmp_path / "videos" / "1.mp4", Path("link")) == str(tmp_path / "videos" / "1.mp4")


def test_the_rate_is_the_header_s(tmp_path: Path) -> None:
    assert frame_rate(write_video(tmp_path / "a.mp4", range(12), fps=12)) == 12.0
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="cannot open the video"):
        frame_rate(tmp_path / "b.mp4")
