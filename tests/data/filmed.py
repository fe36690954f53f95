"""Videos as phones and recorders write them: on their side, with pixels that are not square, later than the sound."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from data.barcode_video import H264, HEIGHT, WIDTH, drift
from PIL import Image

# a, b, c, d of the matrix in ISO/IEC 14496-12 8.3.2: a stored pixel (x, y) is shown at (a x + c y, b x + d y), moved
# so that the picture begins at (0, 0). Phones held upright write the second.
MATRICES = {
    "as it is": (1, 0, 0, 1),
    "a quarter to the right": (0, 1, -1, 0),
    "half": (-1, 0, 0, -1),
    "a quarter to the left": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down in a mirror": (1, 0, 0, -1),
    "mirrored and a quarter to the right": (0, 1, 1, 0),
    "mirrored and a quarter to the left": (0, -1, -1, 0),
}


def write_film(path: Path, frames: int = 12, pixel: str = "1:1", late: float = 0.0, sound: bool = False) -> Path:
    """Frames of `drift`, ten a second, the first `late` seconds after 0 s, where the sound begins if there is one."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(H264, rate=10, options={"g": "6"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(pixel.replace(":", "/"))
        if sound:
            track = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(frames):
            frame = av.VideoFrame.from_image(drift(number))
            frame.pts, frame.time_base = number + round(10 * late), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            for number in range(int((late + frames / 10) * 16000 / 1024)):
                heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = 16000, number * 1024, Fraction(1, 16000)
                container.mux(track.encode(heard))
            container.mux(track.encode(None))
    return path


def set_matrix(path: Path, matrix: Sequence[float]) -> Path:
    """Write (a, b, c, d) into the track header of an mp4 file with one track."""
    content = bytearray(path.read_bytes())
    assert content.count(b"tkhd") == 1
    place = content.index(b"tkhd") + 4 + 40  # behind version, times, track number, duration, layer, group, volume
    a, b, c, d = (round(65536 * value) for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def as_shown(stored: Image.Image, matrix: Sequence[int]) -> Image.Image:
    """Every pixel put where the matrix says."""
    pixels = np.asarray(stored)
    a, b, c, d = matrix
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    right, down = a * x + c * y, b * x + d * y
    right, down = right - right.min(), down - down.min()
    shown = np.zeros((down.max() + 1, right.max() + 1, 3), np.uint8)
    shown[down, right] = pixels
    return Image.fromarray(shown)
