"""Media to be validated: videos of 40 frames at 10 a second, 160 x 120 pixels, so 0.0 to 3.9 s and 4.0 s long."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import av
from PIL import Image

from vistadpo_plugin.demo.shapes import Scene, write_video
from vistadpo_plugin.validation.files import VideoJob, VideoResult, inspect

SIZE = (160, 120)
PLAIN: dict[str, Any] = {"video": "a.mp4", "prompt": "What moves?", "chosen": "A dog.", "rejected": "A cat."}
GROUNDED: dict[str, Any] = {**PLAIN, "event": [1, 2], "keyframe": 1.5, "box": [60, 50, 20, 20]}

HANGS = "hangs.mp4"


def inspect_or_hang(job: VideoJob) -> VideoResult:
    """In the place of `inspect`: a video of one name is like a damaged file that sends the library into a loop."""
    if job.rows[0].video == HANGS:
        time.sleep(3600)
    return inspect(job)


OPENED = "opened.txt"


def inspect_and_tell(job: VideoJob) -> VideoResult:
    """In the place of `inspect`: every opening of a video is a line of the file OPENED in the folder of media."""

    def opened(path: str, *args: Any, **kwargs: Any) -> Any:
        with (Path(job.media_dir) / OPENED).open("a") as stream:
            stream.write(f"{Path(path).name}\n")
        return av_open(path, *args, **kwargs)

    av_open, av.open = av.open, opened
    try:
        return inspect(job)
    finally:
        av.open = av_open


def make_media(media: Path) -> Path:
    """a.mp4, b.mp4 (of another background), six frames, one key image, a folder of two, a broken file of each kind."""
    write_video(Scene(40, 0, ()), media / "a.mp4")
    write_video(Scene(40, 1, ()), media / "b.mp4")
    for name in ("frames", "keys", "empty"):
        (media / name).mkdir()
    for index in range(6):
        Image.new("RGB", SIZE, (index * 40, 0, 0)).save(media / "frames" / f"{index}.png")
    for name in ("key.png", "keys/1.png", "keys/2.png"):
        Image.new("RGB", (64, 48)).save(media / name)
    (media / "broken.mp4").write_text("no video")
    # 60 bytes of a PNG are its header, which gives the size, and none of its pixels.
    (media / "cut.png").write_bytes((media / "key.png").read_bytes()[:60])
    shutil.copytree(media / "frames", media / "hole")
    (media / "hole" / "3.png").write_text("no image")
    return media
