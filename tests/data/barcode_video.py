"""Videos whose frames say which frame they are: eight vertical bars, black or white, are the bits of a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

WIDTH, HEIGHT, BAR = 64, 48, 8
H264 = "libx264" if "libx264" in av.codecs_available else "mpeg4"


def draw(code: int) -> Image.Image:
    """The frame that reads `code`, 0 to 255; the lowest bit is the leftmost bar."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(8):
        pixels[:, bit * BAR : (bit + 1) * BAR] = 255 * (code >> bit & 1)
    return Image.fromarray(pixels)


def drift(code: int) -> Image.Image:
    """A fixed noisy texture that moves with `code`, so that an encoder predicts each frame from its neighbours."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    texture = np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return Image.fromarray(np.roll(texture, (code, 2 * code), (0, 1)))


def read_code(image: Image.Image) -> int:
    """The number a decoded frame shows; the rims of the bars are not looked at, since chroma blurs them."""
    grey = np.asarray(image.convert("L"))
    assert grey.shape == (HEIGHT, WIDTH)
    return sum(1 << bit for bit in range(8) if grey[:, bit * BAR + 2 : bit * BAR + 6].mean() > 127)


def codes(frames: Iterable[Image.Image]) -> list[int]:
    return [read_code(frame) for frame in frames]


def write_video(
    path: Path,
    frames: Sequence[int],
    fps: int = 10,
    codec: str = H264,
    stamps_ms: Sequence[int] | None = None,
    first_stamp: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    picture: Callable[[int], Image.Image] = draw,
) -> Path:
    """Encode one frame per number: `fps` frames a second, or shown at `stamps_ms` milliseconds."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        time_base = Fraction(1, fps) if stamps_ms is None else Fraction(1, 1000)
        stream.codec_context.time_base = time_base
        for index, code in enumerate(frames):
            frame = av.VideoFrame.from_image(picture(code))
            frame.pts = first_stamp + index if stamps_ms is None else stamps_ms[index]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def hide_frame(source: Path, target: Path, number: int) -> Path:
    """Copy a VP8 file with its frame `number` not shown (the fifth bit of a VP8 frame header), as encoders do with the
    "alternate reference" frames they hide among the others: the packet has a time, and decodes to nothing.
    """
    with av.open(str(source)) as given, av.open(str(target), "w") as taken:
        stream = given.streams.video[0]
        copy = taken.add_stream_from_template(stream)
        packets = [packet for packet in given.demux(stream) if packet.size]
        for index, packet in enumerate(packets):
            content = bytearray(bytes(packet))
            if index == number:
                content[0] &= 0b11101111
            made = av.Packet(bytes(content))
            made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
            made.is_keyframe, made.stream = packet.is_keyframe, copy
            taken.mux(made)
    return target


def break_pictures(path: Path, start: float = 0.0, end: float = 1.0) -> None:
    """Spoil an MP4 file between these shares of its pictures; header and index stay whole, so it opens as before."""
    content = bytearray(path.read_bytes())
    first = content.index(b"mdat") + 4
    size = int.from_bytes(content[first - 8 : first - 4], "big") - 8
    spoilt = slice(first + int(start * size), first + int(end * size))
    content[spoilt] = b"\xff" * len(content[spoilt])
    path.write_bytes(content)


def write_images(folder: Path, frames: Sequence[int], name: str = "frame_{}.png") -> Path:
    """A folder of images, numbered from 1 without leading zeros."""
    folder.mkdir(parents=True)
    for number, code in enumerate(frames, start=1):
        draw(code).save(folder / name.format(number))
    return folder


class _CountingContainer:
    """An open file that notes, when it is closed, whether somebody decoded it."""

    def __init__(self, container: Any, path: str, passes: list[str]):
        self._container, self._path, self._passes = container, path, passes

    def __enter__(self) -> _CountingContainer:
        return self

    def __exit__(self, *_: object) -> None:
        if any(stream.codec_context.is_open for stream in self._container.streams.video):
            self._passes.append(Path(self._path).name)
        self._container.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on the returned list gains a file's name whenever the file has been decoded, in part or all."""
    passes: list[str] = []
    really_open = av.open
    monkeypatch.setattr(
        av, "open", lambda path, *args, **kwargs: _CountingContainer(really_open(path, *args, **kwargs), path, passes)
    )
    return passes
