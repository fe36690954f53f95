"""Frames as a model is sent them: named in a conversation, and put there as JPEG right before it goes out.

A name says everything that decides the picture, so it stands for it in the file of replies, and an interrupted run
that goes on decodes nothing that it need not send. Frames are named by their time: of some files only decoding tells
which packets show a picture, and so which number a frame has.
"""

from __future__ import annotations

import asyncio
import base64
import io
import queue
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vistadpo_plugin.annotation.drafting.footage import Footage, why_not
from vistadpo_plugin.data.video.intervals import nearest_frame
from vistadpo_plugin.data.video.video import FrameSource, VideoError
from vistadpo_plugin.endpoint import Messages
from vistadpo_plugin.validation.isolation import Workers

JPEG_QUALITY = 90

_FRAME, _VIDEO = "frame:", "video:"

# File ending -> the type that endpoints take videos as; the host's own takes these four.
VIDEO_TYPES = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "mkv", ".avi": "avi"}


def sent_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(width, height) of a frame as it is sent: its longer side is at most `longest` pixels."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def picture(footage: Footage, frame: int, longest: int) -> dict[str, Any]:
    """The part of a message that shows a frame."""
    seconds = float(footage.times[frame] - footage.start)
    return {"type": "image_url", "image_url": {"url": f"{_FRAME}{footage.digest}/{seconds:.6f}/{longest}"}}


def whole_video(footage: Footage) -> dict[str, Any]:
    """The part of a message that shows the file."""
    return {"type": "video_url", "video_url": {"url": f"{_VIDEO}{footage.digest}"}}


@dataclass(frozen=True)
class _Job:
    path: str
    urls: tuple[str, ...]


def _read(job: _Job) -> dict[str, bytes] | str:
    """JPEGs by name, in a process of its own; a sentence where the file cannot be read."""
    asked = {url: (float(url.split("/")[-2]), int(url.split("/")[-1])) for url in job.urls}
    sides = {longest for _, longest in asked.values()}
    numbers: dict[str, int] = {}

    def choose(times: np.ndarray) -> set[int]:
        numbers.update({url: nearest_frame(times, seconds) for url, (seconds, _) in asked.items()})
        return set(numbers.values())

    def keep(image: Image.Image) -> dict[int, bytes]:
        return {longest: _jpeg(image, longest) for longest in sides}

    try:
        _, kept = FrameSource(job.path, images_fps=1.0).read(choose, keep)
        return {url: kept[numbers[url]][longest] for url, (_, longest) in asked.items()}
    except (VideoError, OSError) as error:
        return str(error)
    except Exception as error:  # a library's own; the process is to serve the next video
        return f"{job.path}: {type(error).__name__}: {error}"


def _jpeg(image: Image.Image, longest: int) -> bytes:
    size = sent_size(image.size, longest)
    shrunk = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shrunk.save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


class Pictures:
    """Puts pictures and videos into conversations; decodes in `count` processes, each frame set within `seconds`.

    A context manager, which ends the processes.
    """

    def __init__(self, footages: Sequence[Footage], count: int, seconds: float):
        self._paths = {footage.digest: footage.path for footage in footages}
        self._seconds = seconds
        self._all = [Workers(_read, 1) for _ in range(count)]
        self._idle: queue.SimpleQueue[Workers] = queue.SimpleQueue()
        for workers in self._all:
            self._idle.put(workers)

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        for workers in self._all:
            workers.__exit__()

    async def fill(self, messages: Messages) -> Messages:
        """The conversation with data URLs in place of names. Raises VideoError."""
        wanted: dict[str, set[str]] = defaultdict(set)
        urls: dict[str, str] = {}
        for url in _names(messages):
            digest = url.removeprefix(_FRAME).removeprefix(_VIDEO).split("/")[0]
            if url.startswith(_FRAME):
                wanted[self._paths[digest]].add(url)
            else:
                urls[url] = await asyncio.to_thread(_video_url, self._paths[digest])
        for path, frames in wanted.items():
            read = await asyncio.to_thread(self._decode, _Job(path, tuple(sorted(frames))))
            urls |= {url: _data_url("image/jpeg", jpeg) for url, jpeg in read.items()}
        return [{**message, "content": _filled(message["content"], urls)} for message in messages]

    def _decode(self, job: _Job) -> dict[str, bytes]:
        workers = self._idle.get()
        try:
            ((_, result),) = workers.run([job], lambda _: self._seconds)
        finally:
            self._idle.put(workers)
        if not isinstance(result, dict):
            raise VideoError(why_not(result, job.path))
        return result


def _names(messages: Messages) -> list[str]:
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    return [part[part["type"]]["url"] for part in parts if part["type"] in ("image_url", "video_url")]


def _filled(content: Any, urls: dict[str, str]) -> Any:
    if isinstance(content, str):
        return content
    return [
        part if part["type"] == "text" else {**part, part["type"]: {"url": urls[part[part["type"]]["url"]]}}
        for part in content
    ]


def _video_url(path: str) -> str:
    try:
        return _data_url(f"video/{VIDEO_TYPES[Path(path).suffix.lower()]}", Path(path).read_bytes())
    except OSError as error:
        raise VideoError(f"cannot read the video {path}: {error}") from None


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
