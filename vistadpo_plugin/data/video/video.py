"""Frames out of a video file, a folder of images or a list of images.

A frame's index is its place in presentation order, its time is seconds after the first frame, and it is seen as it is
shown: upright, with square pixels (`upright.py`). `FrameSource.times` does not decode (tokenizing may use it),
`frame_size` one picture; `FrameSource.read` decodes no more than the chosen frames take.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from vistadpo_plugin.data.video.decode import decode_all, decode_some
from vistadpo_plugin.data.video.packets import (
    AV_ERRORS,
    MISSING_SHARE,
    VideoError,
    check_file,
    decoder_options,
    open_video,
    read_packets,
    seconds_from_first,
    video_stream,
)
from vistadpo_plugin.data.video.upright import OddTurn, Size, pixel_shape, shown_size, square_size, turn_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")

# Files of which the size is remembered.
_REMEMBERED_SIZES = 4096

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
    """Read an image file as RGB, turned as its EXIF says. Raises VideoError."""
    try:
        check_file(path)
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except VideoError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"cannot read the image {path}: {error}") from None


def image_size(path: str) -> tuple[int, int]:
    """(width, height) in pixels of the image as `open_image` gives it, from its header. Raises VideoError."""
    try:
        check_file(path)
        with Image.open(path) as image:
            # Without any of these Pillow would read a whole PNG in search of an orientation.
            told = {"exif", "xmp", "XML:com.adobe.xmp"} & image.info.keys()
            sideways = told and image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
            return image.size[::-1] if sideways else image.size
    except VideoError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(f"cannot read the image {path}: {error}") from None


def frame_size(video: str | tuple[str, ...]) -> tuple[int, int]:
    """(width, height) in pixels of the first frame of a video file as it is shown, or of a sequence of images.

    Raises VideoError.
    """
    if isinstance(video, tuple):
        return image_size(video[0])
    return _sizes(video).shown


def is_shown_otherwise(path: str) -> bool:
    """Whether the frames of a video file are shown turned, mirrored or in other proportions. Raises VideoError."""
    return _sizes(path).differs


class _Sizes(NamedTuple):
    """(width, height) of the first frame as it is shown, and whether that is another picture than the stored one."""

    shown: Size
    differs: bool


def _sizes(path: str) -> _Sizes:
    try:
        status = check_file(path)
        return _read_sizes(path, status.st_size, status.st_mtime_ns)
    except AV_ERRORS as error:
        raise VideoError(f"cannot open the video {path}: {error}") from None


@lru_cache(_REMEMBERED_SIZES)  # rows share videos
def _read_sizes(path: str, size: int, modified: int) -> _Sizes:
    """A picture is decoded for it: the matrix comes with the pictures, the header's is not to be had."""
    with open_video(path) as container:
        stream = video_stream(container, path)
        stored, pixel = (stream.width, stream.height), pixel_shape(stream)
        stream.codec_context.options = decoder_options()
        try:
            first = next(container.decode(stream), None)
            if first is not None:
                return _Sizes(shown_size(first, pixel), turn_of(first) is not None or pixel != 1)
        except OddTurn as error:
            raise VideoError(f"{path}: {error}; encode it again upright.") from None
        except AV_ERRORS:
            pass  # said, with more detail, when frames are read
        return _Sizes(square_size(stored, pixel), pixel != 1)


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

    def late(self) -> float:
        """Seconds that a file's picture begins after its sound, 0 below `LATE_SECONDS`. Raises VideoError."""
        return 0.0 if isinstance(self.video, tuple) else read_packets(self.video).late

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
