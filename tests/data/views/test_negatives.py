"""Rejected views, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vistadpo_plugin.data.views.negatives import black_like, masked, moved, noise_like, scaled_boxes, shuffled

WIDTH, HEIGHT = 40, 30
FILLS = ["mean", "black", "white", "blur"]


def scene(*patches: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> Image.Image:
    """A frame of (10, 20, 30) with coloured (left, top, right, bottom) patches."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (10, 20, 30))
    for box, colour in patches:
        image.paste(colour, box)
    return image


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def outside(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """bool (HEIGHT, WIDTH): the pixels in none of the boxes."""
    mask = np.ones((HEIGHT, WIDTH), bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = False
    return mask


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        # 160 x 120 shrunk to 40 x 30, a quarter of it:
        ((8, 4, 16, 8), (2, 1, 6, 3)),  # all corners on whole pixels
        ((9, 5, 16, 8), (2, 1, 7, 4)),  # 2.25, 1.25, 6.25, 3.25: down, down, up, up
        ((10, 6, 1, 1), (2, 1, 3, 2)),  # 2.5, 1.5, 2.75, 1.75: never empty
        ((-8, -4, 16, 8), (0, 0, 2, 1)),  # -2, -1 are over the edge
        ((150, 110, 40, 40), (37, 27, 40, 30)),  # 37.5, 27.5; 47.5, 37.5 are over the edge
    ],
)
def test_boxes_are_scaled_and_rounded_outwards(
    box: tuple[float, float, float, float], corners: tuple[int, int, int, int]
) -> None:
    assert scaled_boxes((box,), (160, 120), (WIDTH, HEIGHT)) == [corners]


def test_boxes_are_scaled_by_each_side_on_its_own() -> None:
    """100 x 100 to 50 x 200: x halves, y doubles."""
    assert scaled_boxes(((10, 10, 20, 20), (0, 50, 100, 1)), (100, 100), (50, 200)) == [
        (5, 20, 15, 60),
        (0, 100, 50, 102),
    ]


@pytest.mark.parametrize("fill", FILLS)
def test_masking_touches_the_boxes_and_nothing_else(fill: str) -> None:
    boxes = [(4, 5, 14, 12), (26, 16, 36, 26)]
    frame = scene((boxes[0], (250, 0, 0)), (boxes[1], (0, 250, 0)))
    before = pixels(frame)
    after = pixels(masked(frame, boxes, fill))
    keep = outside(*boxes)
    assert (after[keep] == before[keep]).all()
    assert (np.abs(after - before)[~keep].max(axis=-1) > 20).all()  # no pixel of either object is as it was
    assert (pixels(frame) == before).all()


@pytest.mark.parametrize(("fill", "colour"), [("black", (0, 0, 0)), ("white", (255, 255, 255)), ("mean", (70, 65, 60))])
def test_fill_colours(fill: str, colour: tuple[int, int, int]) -> None:
    """The object, a quarter of the frame (20 x 15 of 40 x 30), is (250, 200, 150), the rest (10, 20, 30).

    mean = 3/4 rest + 1/4 object = (7.5 + 62.5, 15 + 50, 22.5 + 37.5).
    """
    frame = scene(((0, 0, 20, 15), (250, 200, 150)))
    assert (pixels(masked(frame, [(3, 4, 9, 11)], fill))[4:11, 3:9] == colour).all()


def test_two_boxes_get_the_same_mean() -> None:
    """The mean is the given frame's; masking the first box does not move it for the second. (70, 65, 60) as above."""
    frame = scene(((0, 0, 20, 15), (250, 200, 150)))
    after = pixels(masked(frame, [(0, 0, 20, 15), (30, 20, 35, 25)], "mean"))
    assert (after[~outside((0, 0, 20, 15), (30, 20, 35, 25))] == (70, 65, 60)).all()


def test_blur_hides_a_checkerboard() -> None:
    """Squares of 4 pixels, black and white, standard deviation 127.5; blurred by half the box nothing of them stays."""
    box = (8, 6, 32, 24)
    y, x = np.mgrid[:18, :24]
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    frame[6:24, 8:32] = (255 * ((x // 4 + y // 4) % 2))[..., None]
    after = pixels(masked(Image.fromarray(frame), [box], "blur"))[6:24, 8:32]
    assert after.std() < 6
    assert 118 < after.mean() < 138


@pytest.mark.parametrize(
    ("box", "to"),
    [
        ((2, 3, 10, 8), (32, 25, 40, 30)),  # 8 x 5 at the top left -> bottom right
        ((30, 3, 38, 8), (0, 25, 8, 30)),
        ((2, 22, 10, 27), (32, 0, 40, 5)),
        ((30, 22, 38, 27), (0, 0, 8, 5)),
    ],
)
@pytest.mark.parametrize("fill", ["black", "mean"])
def test_a_moved_object_appears_in_the_farthest_corner(
    box: tuple[int, int, int, int], to: tuple[int, int, int, int], fill: str
) -> None:
    frame = scene((box, (250, 0, 0)))
    before, after = pixels(frame), pixels(moved(frame, [box], fill))
    assert (after[~outside(to)] == (250, 0, 0)).all()
    assert (after[~outside(box)][:, 0] < 100).all()  # the red is gone from where it was
    keep = outside(box, to)
    assert (after[keep] == before[keep]).all()
    assert (pixels(frame) == before).all()


def test_black_frames() -> None:
    frames = [scene(), Image.new("RGB", (5, 7), "white")]
    black = black_like(frames)
    assert [frame.size for frame in black] == [(WIDTH, HEIGHT), (5, 7)]
    assert not any(pixels(frame).any() for frame in black)


def test_noise_is_uniform_and_its_seed_decides() -> None:
    """Uniform on 0..255: mean 127.5, standard deviation 73.9 (256 / sqrt 12); 7,200 numbers give +- 1 or so."""
    frames = [scene()] * 2
    first, again, other = (noise_like(frames, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert [frame.tobytes() for frame in first] == [frame.tobytes() for frame in again]
    assert len({frame.tobytes() for frame in [*first, *other]}) == 4
    values = np.stack([pixels(frame) for frame in first])
    assert values.shape == (2, HEIGHT, WIDTH, 3) and (values.min(), values.max()) == (0, 255)
    assert abs(values.mean() - 127.5) < 4 and abs(values.std() - 73.9) < 3


@pytest.mark.parametrize("count", range(2, 9))
def test_shuffling_always_changes_the_order(count: int) -> None:
    frames = [Image.new("RGB", (1, 1), (index, 0, 0)) for index in range(count)]
    orders = set()
    for seed in range(51):
        order = [frame.getpixel((0, 0))[0] for frame in shuffled(frames, np.random.default_rng(seed))]
        assert sorted(order) == list(range(count)) and order != list(range(count))
        again = shuffled(frames, np.random.default_rng(seed))
        assert [frame.getpixel((0, 0))[0] for frame in again] == order
        orders.add(tuple(order))
    assert len(orders) >= min(51, count) - 1  # 2 frames have one other order, 3 have five


def test_one_frame_cannot_be_shuffled() -> None:
    frame = scene()
    assert shuffled([frame], np.random.default_rng(0)) == [frame]
