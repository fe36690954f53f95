"""Seconds <-> ticks, pixels <-> per cents, by numbers worked out by hand or seen in Label Studio's own page."""

from __future__ import annotations

import numpy as np
import pytest

from vistadpo_plugin.annotation.label_studio.units import Ruler, ruler_of, to_per_cents, to_pixels

UNEVEN = np.array([0.0, 0.1, 0.15, 0.4, 1.0, 1.05, 2.0, 2.5])

# Label Studio 1.23.2 in Chromium, with a video of those stamps and frameRate 60: which picture a tick showed.
SEEN = {1: 0, 6: 0, 7: 1, 9: 1, 10: 2, 24: 2, 25: 3, 60: 3, 61: 4, 63: 4, 64: 5, 120: 5, 121: 6, 150: 6}


def even(rate: float, pictures: int) -> Ruler:
    return ruler_of(np.arange(pictures) / rate)


@pytest.mark.parametrize(
    ("rate", "event", "ticks", "back"),
    [
        (10, (2.2, 3.2), (23, 33), (2.2, 3.2)),  # pictures 22 to 32, from 0
        (25, (3.2, 5.0), (81, 126), (3.2, 5.0)),
        (25, (3.25, 3.33), (83, 84), (3.28, 3.32)),  # pictures 82 and 83 are inside
        (10, (0.0, 0.4), (1, 5), (0.0, 0.4)),
        (10, (0.41, 0.44), (5, 5), (0.4, 0.45)),  # none is inside: the nearest, and half the way to the next
        (10, (4.5, 99.0), (46, 50), (4.5, 4.9)),  # behind the last picture, the 50th
        (30000 / 1001, (1.001, 2.002), (31, 61), (1.001, 2.002)),
        (30, (0.1, 1 / 3), (4, 11), (0.1, 0.334)),  # 0.333...: rounded outwards, so that the picture stays inside
    ],
)
def test_events_and_ticks(rate: float, event: tuple, ticks: tuple, back: tuple) -> None:
    ruler = even(rate, 50 if rate == 10 else 300)
    assert ruler.even and ruler.rate == pytest.approx(rate)
    assert ruler.to_ticks(event) == ticks
    assert ruler.to_seconds(ticks) == pytest.approx(back, abs=1e-9)


def test_every_tick_comes_back() -> None:
    ruler = even(24, 240)
    for tick in (1, 2, 100, 239, 240):
        assert ruler.to_ticks(ruler.to_seconds((tick, tick))) == (tick, tick)
        assert ruler.to_ticks(ruler.to_seconds((1, tick))) == (1, tick)


def test_uneven_pictures_lie_where_the_page_showed_them() -> None:
    ruler = ruler_of(UNEVEN)
    assert (ruler.rate, ruler.even) == (60, False)
    for tick, picture in SEEN.items():
        assert ruler.moment(tick) == UNEVEN[picture]
    # From the first tick that showed picture 1 to the last that showed picture 3.
    assert ruler.to_ticks((0.1, 0.4)) == (7, 60)
    assert ruler.to_seconds((7, 60)) == (0.1, 0.4)
    assert ruler.to_seconds((8, 30)) == (0.1, 0.4)  # any tick of a picture means it


def test_a_picture_that_begins_after_the_sound() -> None:
    """The page's clock is a player's: picture 0 is at 0.5 s, ticks 43 and 54 are at 0.7 s and 0.883 s."""
    ruler = ruler_of(np.arange(12) / 10, late=0.5)
    assert ruler.to_ticks((0.7, 0.8)) == (43, 54)
    assert ruler.to_seconds((43, 54)) == (0.7, 0.8)
    assert ruler.moment(1) == 0.5


def test_a_copy_of_such_a_video_has_a_clock_of_its_own() -> None:
    """In the copy picture 2 is at 0.2 s, tick 3; in a row it is at 0.7 s."""
    ruler = ruler_of(np.arange(12) / 10, shift=0.5)
    assert ruler.to_ticks((0.7, 0.8)) == (3, 4)
    assert ruler.to_seconds((3, 4)) == (0.7, 0.8)


@pytest.mark.parametrize("rate", [0.5, 400])
def test_rates_that_the_page_cannot_count_in(rate: float) -> None:
    """It takes 0.5 for half a second a frame, and shows pictures that are shorter than 2 ms too late."""
    ruler = even(rate, 9)
    assert (ruler.rate, ruler.even) == (60, False)


def test_milliseconds_of_matroska_are_even() -> None:
    """Times rounded to milliseconds: both ends of an event that somebody drew hold their pictures."""
    times = np.round(np.arange(300) * 1001 / 30000, 3)
    ruler = ruler_of(times)
    assert ruler.even and ruler.rate == pytest.approx(30000 / 1001)
    for first, last in ((2, 3), (30, 59), (100, 299)):
        start, end = ruler.to_seconds((first + 1, last + 1))
        inside = np.flatnonzero((times >= start) & (times <= end))
        assert (inside[0], inside[-1]) == (first, last)


@pytest.mark.parametrize("times", [UNEVEN, np.arange(40) / 25, np.array([0.0])])
def test_a_ruler_travels_in_a_task(times: np.ndarray) -> None:
    ruler = ruler_of(times, late=0.5)
    again = Ruler.from_json(ruler.as_json())
    for tick in range(1, 100):
        assert again.moment(tick) == ruler.moment(tick)


def test_boxes_are_shares_of_the_picture() -> None:
    """95 of 160 is 59.375 %, 20 of 120 is 16.667 %."""
    shown = to_per_cents((95, 20, 39, 39), (160, 120))
    assert shown == pytest.approx({"x": 59.375, "y": 100 / 6, "width": 24.375, "height": 32.5})
    assert to_pixels(shown, (160, 120)) == pytest.approx((95, 20, 39, 39))


def test_a_box_over_the_edge_is_shown_as_far_as_it_goes() -> None:
    assert to_per_cents((-10, 90, 30, 60), (200, 100)) == {"x": 0, "y": 90, "width": 10, "height": 10}
    assert to_per_cents((250, 0, 10, 10), (200, 100)) is None
