"""The largest centred square of a frame: all that a processor which crops lets a model see."""

from __future__ import annotations


def centre_square(size: tuple[int, int]) -> tuple[float, float, float]:
    """(left, top, side) in pixels, of a frame of `size` (width, height)."""
    side = min(size)
    return (size[0] - side) / 2, (size[1] - side) / 2, side


def seen_area(box: tuple[float, float, float, float], size: tuple[int, int]) -> float:
    """Square pixels that a box (x, y, width, height) shares with the centre square of its frame."""
    *corner, side = centre_square(size)
    seen = 1.0
    for start, length, first in zip(box[:2], box[2:], corner, strict=True):
        seen *= max(0.0, min(start + length, first + side) - max(start, first))
    return seen
