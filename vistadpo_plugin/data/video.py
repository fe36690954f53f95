"""Frames out of a video file, a folder of images or a list of images.

A frame's index is its place in presentation order, its time is seconds after the first frame. `read_header` opens a
file without decoding (tokenizing may use it); `FrameSource.read` decodes, in one pass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import av
import numpy as np
from PIL import Image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")

# A header may promise a few frames more than the file decodes to (edit lists); beyond this share the file is cut short.
_MISSING_SHARE = 0.1


class VideoError(ValueError):
    """A video that cannot be read; the message names the file."""


@dataclass(frozen=True)
class VideoHeader:
    """What a file says about itself. `duration` in seconds and `frames` are None where the container does not say."""

    width: int
    height: int
    duration: float | None
    frames: int | None


def natural_order(names: Iterable[str]) -> list[str]:
    """frame_2 before frame_10."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def images_in(folder: str) -> tuple[str, ...]:
    """The images of a folder of frames, in natural order."""
    names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
    return tuple(os.path.join(folder, name) for name in natural_order(names))


def open_image(path: str) -> Image.Image:
    """Read an image file as RGB. Raises VideoError."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"cannot read the image {path}: {error}") from None


def image_size(path: str) -> tuple[int, int]:
    """(width, height) in pixels from an image file's header. Raises VideoError."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"cannot read the image {path}: {error}") from None


def read_header(video: str | tuple[str, ...], images_fps: float) -> VideoHeader:
    """Header of a video file, or of a sequence of images shown at `images_fps` a second. Raises VideoError."""
    if isinstance(video, tuple):
        width, height = image_size(video[0])
        return VideoHeader(width, height, len(video) / images_fps, len(video))
    try:
        with av.open(video) as container:
            stream = _video_stream(container, video)
            duration = None
            if stream.duration is not None:
                duration = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                duration = container.duration / av.time_base
            return VideoHeader(stream.width, stream.height, duration, stream.frames or None)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot open the video {video}: {error}") from None


def _video_stream(container: av.container.InputContainer, path: str) -> av.video.stream.VideoStream:
    if not container.streams.video:
        raise VideoError(f"{path} has no video stream.")
    stream = container.streams.video[0]
    if not stream.width or not stream.height:
        raise VideoError(f"{path}: its header names no frame size, the file is damaged.")
    return stream


@dataclass(frozen=True)
class FrameSource:
    """One video to take frames from: a file, or a tuple of image files shown at `images_fps` a second."""

    video: str | tuple[str, ...]
    images_fps: float

    def times(self) -> np.ndarray:
        """Times of all frames (n,), seconds after the first, without decoding. Raises VideoError."""
        if isinstance(self.video, tuple):
            return np.arange(len(self.video)) / self.images_fps
        return _packet_times(self.video)

    def read(
        self, choose: Callable[[np.ndarray], set[int]], keep: Callable[[Image.Image], Image.Image]
    ) -> tuple[np.ndarray, dict[int, Image.Image]]:
        """Times of all frames (n,), and the chosen frames by index.

        `choose` gets the times and says which indices are wanted; `keep` turns a decoded frame into what is kept of it
        (resized, say), so that large frames do not pile up. Raises VideoError.
        """
        times = self.times()
        if isinstance(self.video, tuple):
            return times, {index: keep(open_image(self.video[index])) for index in sorted(choose(times))}
        frames, decoded = _decode(self.video, choose(times), keep)
        if len(decoded) < len(times) and choose(times) - frames.keys():
            # Some containers hold packets that show nothing (VP8's hidden frames, edit lists): plan again with the
            # frames that exist. A file whose end is missing is an error instead.
            if len(decoded) < (1 - _MISSING_SHARE) * len(times):
                raise VideoError(
                    f"{self.video} is cut short or damaged: "
                    f"only {len(decoded)} of its {len(times)} frames can be decoded."
                )
            times = np.asarray(decoded)
            frames, _ = _decode(self.video, choose(times), keep)
        return times, frames


def _packet_times(path: str) -> np.ndarray:
    """Presentation times of all shown frames in seconds after the first, read from the packets without decoding."""
    try:
        with av.open(path) as container:
            stream = _video_stream(container, path)
            stamps = [
                packet.pts
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard and packet.pts is not None
            ]
            promised, time_base = stream.frames, stream.time_base
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"cannot read the video {path}: {error}") from None
    if not stamps:
        raise VideoError(f"{path} holds no frames.")
    if promised and len(stamps) < (1 - _MISSING_SHARE) * promised:
        raise VideoError(f"{path} is cut short: its header promises {promised} frames, the file holds {len(stamps)}.")
    ordered = np.sort(np.asarray(stamps, dtype=np.float64))
    return (ordered - ordered[0]) * float(time_base)


def _decode(
    path: str, wanted: set[int], keep: Callable[[Image.Image], Image.Image]
) -> tuple[dict[int, Image.Image], list[float]]:
    """One pass up to the last wanted frame: the frames by index, and the times of all frames passed."""
    frames: dict[int, Image.Image] = {}
    times: list[float] = []
    last = max(wanted)
    try:
        with av.open(path) as container:
            stream = _video_stream(container, path)
            stream.thread_type = "AUTO"
            for index, frame in enumerate(container.decode(stream)):
                times.append(0.0 if frame.time is None else frame.time)
                if index in wanted:
                    frames[index] = keep(frame.to_image())
                if index >= last:
                    break
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{path} breaks off while decoding, after {len(times)} frames: {error}") from None
    return frames, [time - times[0] for time in times]
