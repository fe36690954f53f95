"""What is opened: regular files that hold their video themselves, with frames of a size that an image may have."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from data.barcode_video import HEIGHT, WIDTH, write_images, write_video
from PIL import Image

from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.data.video.packets import read_packets
from vistadpo_plugin.data.video.video import FrameSource, VideoError, frame_size, image_size, open_image

READERS: list[Callable[[str], object]] = [
    frame_size,
    read_packets,
    lambda path: FrameSource(path, 2.0).read(lambda times: {0}, lambda image: image),
]

LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\nsecret.ts\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt"])
def test_a_list_of_other_files_is_no_video(kind: str, suffix: str, tmp_path: Path) -> None:
    for secret in ("secret.mp4", "secret.ts"):
        write_video(tmp_path / secret, range(8))
    path = tmp_path / f"list{suffix}"
    path.write_text(LISTS[kind])
    for read in READERS:
        with pytest.raises(VideoError, match=rf"list\{suffix}"):
            read(str(path))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mov", "ts", "flv", "gif"])
def test_containers_are_opened(suffix: str, tmp_path: Path) -> None:
    codec = {"gif": "gif", "flv": "flv", "avi": "mpeg4", "ts": "mpeg2video"}.get(suffix)
    if suffix == "gif":
        frames = [Image.new("RGB", (WIDTH, HEIGHT), (60 * number, 0, 0)) for number in range(4)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    else:
        rate = {"fps": 25} if suffix in ("ts", "flv") else {}
        write_video(tmp_path / f"a.{suffix}", range(8), **rate, **({"codec": codec} if codec else {}))
    assert frame_size(str(tmp_path / f"a.{suffix}")) == (WIDTH, HEIGHT)


def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to never returns."""
    pipe = str(tmp_path / "pipe.mp4")
    os.mkfifo(pipe)
    for read in [*READERS, open_image, image_size]:
        for path in (pipe, "/dev/zero"):
            with pytest.raises(VideoError, match=f"{path} is no regular file"):
                read(path)
    write_images(tmp_path / "frames", range(2))
    for change in ({"video": pipe}, {"video": pipe, "event": [1, 2]}, {"keyframe": pipe}, {"video": [pipe]}):
        row = {"video": "frames", "prompt": "p", "chosen": "c", "rejected": "r", **change}
        with pytest.raises(RowError, match=r"pipe\.mp4 is no regular file"):
            ground(parse_row(row, "rows.jsonl:1"), str(tmp_path), 2.0)


def test_a_frame_has_no_more_pixels_than_an_image_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses an image of over twice MAX_IMAGE_PIXELS; 64 x 48 are 3072 pixels."""
    path = str(write_video(tmp_path / "a.mp4", range(8)))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1536)
    assert frame_size(path) == image_size(str(tmp_path / "a.png")) == (WIDTH, HEIGHT)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1535)
    os.utime(path, ns=(1, 1))  # what was read of it is remembered
    with pytest.raises(VideoError, match=r"a\.png"):
        open_image(str(tmp_path / "a.png"))
    for read in READERS:
        with pytest.raises(VideoError, match=r"a\.mp4: its frames of 64 x 48 pixels are above the limit of 3070"):
            read(path)


def test_a_header_that_makes_its_frames_small_does_not_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample entry says 8 x 8; the pictures themselves are 64 x 48."""
    path = write_video(tmp_path / "a.mp4", range(8), codec="mpeg4")
    content = path.read_bytes()
    size = struct.pack(">HH", WIDTH, HEIGHT)
    place = content.index(b"mp4v") + 4 + 24  # reserved, data reference, versions, vendor, qualities
    assert content[place : place + 4] == size
    path.write_bytes(content[:place] + struct.pack(">HH", 8, 8) + content[place + 4 :])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        FrameSource(str(path), 2.0).read(lambda times: {0, 5}, lambda image: image)
