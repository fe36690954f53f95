"""Rejected views made from frames: masks, moved objects, noise, black, and frames at other times.

Everything here takes and returns RGB `PIL.Image`s of one size; nothing is changed in place.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from vistadpo_plugin.data.rows.schema import Box


def noise_like(frames: list[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
    """Frames of uniform noise."""
    return [Image.fromarray(rng.integers(0, 256, (frame.height, frame.width, 3), dtype=np.uint8)) for frame in frames]


def black_like(frames: list[Image.Image]) -> list[Image.Image]:
    """All-black frames."""
    return [Image.new("RGB", frame.size) for frame in frames]


def groups(frames: list[Image.Image], magnitude: int | None) -> list[list[Image.Image]]:
    """The frames cut into groups of `len(frames) // magnitude`, at least one frame each; the last may be shorter.

    `magnitude` None: every frame is a group. So TEMPLE (arXiv 2503.16929) sets the strength of temporal perturbations:
    the fewer groups, the more of the order stays.
    """
    size = _share(frames, magnitude)
    return [frames[first : first + size] for first in range(0, len(frames), size)]


def _share(frames: list[Image.Image], magnitude: int | None) -> int:
    return 1 if magnitude is None else max(1, len(frames) // magnitude)


def reversed_order(frames: list[Image.Image], magnitude: int | None = None) -> list[Image.Image]:
    """The same frames with the last group first; within a group they keep their order."""
    return [frame for group in groups(frames, magnitude)[::-1] for frame in group]


def shuffled(frames: list[Image.Image], rng: np.random.Generator, magnitude: int | None = None) -> list[Image.Image]:
    """The same frames in another order of their groups: a random permutation that is not the identity."""
    parts = groups(frames, magnitude)
    order = rng.permutation(len(parts))
    if len(parts) > 1 and (order == np.arange(len(parts))).all():
        order = np.roll(order, 1)
    return [frame for index in order for frame in parts[index]]


def dropped(frames: list[Image.Image], rng: np.random.Generator, magnitude: int | None = None) -> list[Image.Image]:
    """As many frames, of which `len(frames) // magnitude` (at least one) drawn at random are left.

    Each stays until the next one that is left, the first also before it: a view of fewer frames would differ in length
    as well. `magnitude` None leaves one.
    """
    kept = np.sort(rng.choice(len(frames), _share(frames, magnitude), replace=False))
    shown = np.maximum(np.searchsorted(kept, np.arange(len(frames)), side="right") - 1, 0)
    return [frames[kept[place]] for place in shown]


def scaled_boxes(boxes: tuple[Box, ...], original: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Boxes in pixels of the `original` (width, height) frame -> (left, top, right, bottom) whole pixels of `size`.

    Rounded outwards, so that no rim of the object stays visible, and clipped to the frame.
    """
    scale_x, scale_y = size[0] / original[0], size[1] / original[1]
    return [
        (
            max(0, math.floor(x * scale_x)),
            max(0, math.floor(y * scale_y)),
            min(size[0], math.ceil((x + w) * scale_x)),
            min(size[1], math.ceil((y + h) * scale_y)),
        )
        for x, y, w, h in boxes
    ]


def masked(frame: Image.Image, corners: list[tuple[int, ...]], fill: str) -> Image.Image:
    """The frame with every (left, top, right, bottom) filled: `mean` (its mean colour), black, white or blur.

    `blur` continues the surroundings smoothly into the box; nothing of the object is in it.
    """
    colours = {"black": (0, 0, 0), "white": (255, 255, 255)}
    mean = tuple(int(round(channel)) for channel in np.asarray(frame).mean(axis=(0, 1)))
    result = frame.copy()
    for box in corners:
        result.paste(colours.get(fill, mean), box)
    if fill == "blur":
        for left, top, right, bottom in corners:
            smooth = result.filter(ImageFilter.GaussianBlur(max(right - left, bottom - top) / 2))
            result.paste(smooth.crop((left, top, right, bottom)), (left, top))
    return result


def moved(frame: Image.Image, corners: list[tuple[int, ...]], fill: str) -> Image.Image:
    """The object cut out (its place filled as by `masked`) and pasted into the corner of the frame farthest from it."""
    result = masked(frame, corners, fill)
    for left, top, right, bottom in corners:
        width, height = right - left, bottom - top
        x = 0 if left + right > frame.width else frame.width - width
        y = 0 if top + bottom > frame.height else frame.height - height
        result.paste(frame.crop((left, top, right, bottom)), (x, y))
    return result
