"""How a stored picture is shown: turned or mirrored as its display matrix says, its pixels made square.

Phones store what they film as the sensor lies and put a matrix beside it; DVDs store pixels that are not square.
Players undo both, and people draw boxes on what players show. So do we: everywhere a frame is as it is shown.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from PIL import Image

Size = tuple[int, int]
"""(width, height) in pixels."""

# Sizes are rounded to even numbers when a video is encoded, and its pixels then said to be 1280:1281, say.
SQUARE_TOLERANCE = 0.01

# A matrix is a quarter turn when what should be 0 is so small beside the rest.
_ZERO_SHARE = 0.01

_TURNS = {
    (False, False, False): None,
    (False, True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (False, True, True): Image.Transpose.ROTATE_180,
    (True, False, False): Image.Transpose.TRANSPOSE,
    (True, True, False): Image.Transpose.ROTATE_270,
    (True, False, True): Image.Transpose.ROTATE_90,
    (True, True, True): Image.Transpose.TRANSVERSE,
}
"""(x and y change places, then left and right do, then top and bottom do) -> the one operation that does it."""

_SIDEWAYS = {turn for (swapped, _, _), turn in _TURNS.items() if swapped}


class OddTurn(ValueError):
    """A display matrix that is no quarter turn."""


def turn_of(frame: av.VideoFrame) -> Image.Transpose | None:
    """What makes the stored picture upright; None where it is. Raises OddTurn."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return None if matrix is None else read_matrix(np.frombuffer(matrix, np.int32))


def read_matrix(matrix: np.ndarray) -> Image.Transpose | None:
    """The turn of a display matrix (9,), ISO/IEC 14496-12 8.3.2: x' = a x + c y and y' = b x + d y, y pointing down.

    Raises OddTurn.
    """
    a, b, _, c, d = matrix[:5].astype(np.int64).tolist()
    along, across = (abs(a), abs(d)), (abs(b), abs(c))
    if not any(along + across):
        return None
    if max(across) <= _ZERO_SHARE * min(along):
        return _TURNS[False, a < 0, d < 0]
    if max(along) <= _ZERO_SHARE * min(across):
        return _TURNS[True, c < 0, b < 0]
    raise OddTurn(f"its display matrix, ({a}, {b}, {c}, {d}) / 65536, is no quarter turn")


def pixel_shape(stream: av.video.stream.VideoStream) -> Fraction:
    """Width of a pixel over its height: 1 where it is not said, or nearly that."""
    ratio = stream.sample_aspect_ratio
    return Fraction(1) if not ratio or abs(ratio - 1) < SQUARE_TOLERANCE else Fraction(ratio)


def square_size(stored: Size, pixel: Fraction) -> Size:
    """Size in square pixels: the picture becomes wider or higher, never smaller, so nothing is lost."""
    width, height = stored
    if pixel >= 1:
        return int(width * pixel + Fraction(1, 2)), height
    return width, int(height / pixel + Fraction(1, 2))


def shown_size(frame: av.VideoFrame, pixel: Fraction) -> Size:
    """Size of the frame as it is shown. Raises OddTurn."""
    width, height = square_size((frame.width, frame.height), pixel)
    return (height, width) if turn_of(frame) in _SIDEWAYS else (width, height)


def upright(frame: av.VideoFrame, pixel: Fraction) -> Image.Image:
    """The frame as it is shown, as RGB. Raises OddTurn."""
    # As `frame.to_image()`, which copies row by row and takes seven times as long.
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    size = square_size(image.size, pixel)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    turn = turn_of(frame)
    return image if turn is None else image.transpose(turn)
