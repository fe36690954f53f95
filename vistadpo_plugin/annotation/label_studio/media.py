"""What a browser is shown of a row: its video, as it is where browsers play it, else as a copy, and a picture of it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vistadpo_plugin.data.video.intervals import nearest_frame
from vistadpo_plugin.data.video.packets import AV_ERRORS, VideoError, open_video, video_stream
from vistadpo_plugin.data.video.video import FrameSource

# Formats of PyAV, and what every browser of today plays of them.
PLAYED = {"mov": (".mp4", ("h264", "av1", "vp9")), "matroska": (".webm", ("vp8", "vp9", "av1"))}
PLAYED_PIXELS = ("yuv420p", "yuvj420p")

COPY_CODEC = "libx264"
COPY_WIDTH = 854
"""Pixels of a copy at most: it is for looking at, and boxes are drawn on a picture of the whole size."""

QUALITY = 95
_CLOCK = 90_000


@dataclass(frozen=True)
class Shown:
    """The file a browser is shown for a video, and whether it is a copy, on whose clock the first picture is at 0 s."""

    file: Path
    copied: bool


def show_video(source: FrameSource, folder: Path, name: str) -> Shown:
    """A link to the video in `folder`, or a copy in H.264 where browsers do not play it or it is a folder of frames.

    Raises VideoError; ValueError where a copy is needed and this PyAV cannot write H.264.
    """
    folder.mkdir(parents=True, exist_ok=True)
    suffix = None if isinstance(source.video, tuple) else _played_suffix(source.video)
    if suffix is not None:
        link = folder / f"{name}{suffix}"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.realpath(source.video))
        return Shown(link, False)
    copy = folder / f"{name}.mp4"
    copy.unlink(missing_ok=True)
    _write_copy(source, copy)
    return Shown(copy, True)


def _played_suffix(path: str) -> str | None:
    """The ending under which browsers play a video file; None where they do not."""
    try:
        with open_video(path) as container:
            stream = video_stream(container, path)
            codec, pixels = stream.codec_context.name, stream.codec_context.pix_fmt
            names = container.format.name.split(",")
    except AV_ERRORS as error:
        raise VideoError(f"cannot open the video {path}: {error}") from None
    for format_name, (suffix, codecs) in PLAYED.items():
        if format_name in names and _plain_name(codec) in codecs and pixels in PLAYED_PIXELS:
            return suffix
    return None


def _plain_name(codec: str) -> str:
    """libdav1d and libvpx-vp9 are decoders of av1 and vp9."""
    return {"libdav1d": "av1", "libaom-av1": "av1", "libvpx": "vp8", "libvpx-vp9": "vp9"}.get(codec, codec)


def _write_copy(source: FrameSource, path: Path) -> None:
    if COPY_CODEC not in av.codecs_available:
        raise ValueError(f"browsers do not play {source.video}, and this PyAV has no {COPY_CODEC} to copy it with.")
    # All pictures of the video, as JPEGs: they come by index, not one after the other.
    times, pictures = source.read(lambda times: set(range(len(times))), _small_jpeg)
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as container:
        # The rate tells only how long the last picture is shown; the others have their own times.
        rate = Fraction(max(len(times) - 1, 1) / max(float(times[-1]), 1 / _CLOCK)).limit_denominator(1001)
        stream = container.add_stream(COPY_CODEC, rate=rate, options={"crf": "23", "preset": "veryfast"})
        stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
        stream.pix_fmt = "yuv420p"
        last = -1
        for index in sorted(pictures):
            image = Image.open(io.BytesIO(pictures[index]))
            if index == 0:
                stream.width, stream.height = image.size
            # Images of a folder may differ in size, and the first one gives the video's.
            frame = av.VideoFrame.from_image(image.resize((stream.width, stream.height)))
            # Two pictures at one time, as some files have them, would be refused.
            last = max(round(float(times[index]) * _CLOCK), last + 1)
            frame.pts, frame.time_base = last, Fraction(1, _CLOCK)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    os.replace(part, path)


def _small_jpeg(image: Image.Image) -> bytes:
    share = min(1.0, COPY_WIDTH / image.width)
    even = [max(2, round(side * share / 2) * 2) for side in image.size]  # as yuv420p wants it
    return jpeg(image.resize(even))


def jpeg(image: Image.Image) -> bytes:
    """An image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def pictures_at(source: FrameSource, seconds: Iterable[float]) -> dict[float, tuple[float, bytes]]:
    """For each of `seconds` after the first picture the picture nearest to it: (its own time, JPEG), in one reading.

    Raises VideoError.
    """
    wanted = list(seconds)
    times, pictures = source.read(lambda times: {nearest_frame(times, moment) for moment in wanted}, jpeg)
    nearest = {moment: nearest_frame(times, moment) for moment in wanted}
    return {moment: (float(np.asarray(times)[index]), pictures[index]) for moment, index in nearest.items()}
