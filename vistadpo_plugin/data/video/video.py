"""Frames out of a video file, a folder of images or a list of images.

A frame's index is its place in presentation order, its time is seconds after the first frame. `frame_size` and
`FrameSource.times` do not decode (tokenizing may use them); `FrameSource.read` decodes no more
than the chosen frames take.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from vistadpo_plugin.data.video.decode import decode_all, decode_some
from vistadpo_plugin.data.video.packets import (
    AV_ERRORS,
    MISSING_SHARE,
    VideoError,
    open_video,
    read_packets,
    seconds_from_first,
    video_stream,
)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")

Kept = TypeVar("Kept")


def natural_order(names: Iterable[str]) -> list[str]:
    """frame_2 before frame_10."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def images_in(folder: str) -> tuple[str, ...]:
    """The images of a folder of frames, in natural order. Raises VideoError."""
    try:
        names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
    except OSError as error:
        raise VideoError(f"cannot list the folder {folder}: {error}") from None
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


def frame_size(video: str | tuple[str, ...]) -> tuple[int, int]:
    """(width, height) in pixels from the header of a video file, or of the first of a sequence of images.

    Raises VideoError.
    """
    if isinstance(video, tuple):
        return image_size(video[0])
    try:
        with open_video(video) as container:
            stream = video_stream(container, video)
            return stream.width, stream.height
    except AV_ERRORS as error:
        raise VideoError(f"cannot open the video {video}: {error}") from None


@dataclass(frozen=True)
class FrameSource:
    """One video to take frames from: a file, or a tuple of image files shown at `images_fps` a second."""

    video: str | tuple[str, ...]
    images_fps: float

    def times(self) -> np.ndarray:
        """Times of all frames (n,), seconds after the first, without decoding. Raises VideoError."""
        if isinstance(self.video, tuple):
            return np.arange(len(self.video)) / self.images_fps
        return read_packets(self.video).times()

    def times_and_size(self) -> tuple[np.ndarray, tuple[int, int]]:
        """As `times`, and as `frame_size`, for one opening of the file, which is what costs. Raises VideoError."""
        if isinstance(self.video, tuple):
            return self.times(), image_size(self.video[0])
        packets = read_packets(self.video)
        return packets.times(), packets.size

    def read(
        self, choose: Callable[[np.ndarray], set[int]], keep: Callable[[Image.Image], Kept]
    ) -> tuple[np.ndarray, dict[int, Kept]]:
        """Times of all frames (n,), and the chosen frames by index.

        `choose` gets the times and says which indices are wanted; `keep` turns a decoded frame into what is kept of it
        (resized, say), so that large frames do not pile up; it may be called from other threads, one at a time. Raises
        VideoError.
        """
        if isinstance(self.video, tuple):
            times = self.times()
            return times, {index: keep(open_image(self.video[index])) for index in sorted(choose(times))}
        packets = read_packets(self.video)
        times = packets.times()
        wanted = choose(times)
        frames = decode_some(self.video, packets, wanted, keep)
        if frames is not None:
            return times, frames
        frames, stamps = decode_all(self.video, wanted, keep)
        promised = packets.shown_stamps
        if stamps == promised[: len(stamps)] and wanted == frames.keys():
            return times, frames
        # Some packets show nothing (VP8's hidden frames, say), so the frames' places are not the packets': find out by
        # decoding which frames exist, and plan again.
        _, stamps = decode_all(self.video, None, keep)
        if len(stamps) < (1 - MISSING_SHARE) * len(promised):
            raise VideoError(
                f"{self.video} is cut short or damaged: "
                f"only {len(stamps)} of its {len(promised)} frames can be decoded."
            )
        times = seconds_from_first(sorted(stamps), packets.time_base)
        frames, _ = decode_all(self.video, choose(times), keep)
        return times, frames
