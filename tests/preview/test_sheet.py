"""The picture of one row: found in it, pixel by pixel, is what it should show."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from barcode_rows import MATE_ROW, ROW, settings_for, write_media, write_rows
from PIL import Image, ImageFont

from vistadpo_plugin.preview.candidates import read_candidates
from vistadpo_plugin.preview.cards import make_cards
from vistadpo_plugin.preview.sheet import (
    BOX,
    COLUMN,
    DIMMED,
    EVENT,
    GAP,
    MARGIN,
    REJECTED,
    WIDTH,
    _font,
    _wrap,
    draw_sheet,
)

Draw = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def sheet(media: Path, tmp_path: Path) -> Draw:
    """The picture of a row, (h, w, 3)."""

    def run(row: Any, crop: bool | None = False, **keys: Any) -> np.ndarray:
        settings = settings_for(write_rows(tmp_path, row, MATE_ROW), media, crop, **keys)
        (card,) = make_cards(read_candidates(settings), [0], settings)
        picture = Image.open(io.BytesIO(draw_sheet(card, settings)))
        assert picture.format == "PNG" and picture.width == WIDTH
        return np.asarray(picture)

    return run


def has_colour(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((pixels == colour).all(axis=-1).any())


def strips(pixels: np.ndarray, numbers: list[int]) -> list[tuple[int, int]]:
    """(x, y) of the lines of pixels that show these four barcodes side by side at the left edge of a column."""
    width = (COLUMN - 3 * 8) // 4
    middles = [n * (width + 8) + round((bar + 0.5) * width / 8) for n in range(4) for bar in range(8)]
    white = np.array([number >> bar & 1 for number in numbers for bar in range(8)], bool)
    grey, found = pixels.mean(axis=-1), []
    for x in (MARGIN, MARGIN + COLUMN + GAP):
        bars = grey[:, [x + middle for middle in middles]]
        shown = ((bars > 200) & white) | ((bars < 55) & ~white)
        found += [(x, int(y)) for y in np.flatnonzero(shown.all(axis=1))]
    return found


def test_the_views_are_there_each_in_its_place(sheet: Draw) -> None:
    """The second lines of four: full view, rejected video, clip, rejected clip; and four that are no such line."""
    pixels = sheet(ROW)
    lines = {
        name: strips(pixels, numbers)
        for name, numbers in (
            ("full", [22, 27, 33, 39]),
            ("mate", [128, 135, 142, 149]),
            ("clip", [15, 17, 18, 20]),
            ("outside", [31, 33, 36, 39]),
            ("none", [21, 27, 33, 39]),
        )
    }
    left, right = MARGIN, MARGIN + COLUMN + GAP
    assert {name: {x for x, _ in found} for name, found in lines.items()} == {
        "full": {left}, "mate": {right}, "clip": {left}, "outside": {right}, "none": set()
    }  # fmt: skip
    assert max(y for _, y in lines["full"]) < min(y for _, y in lines["clip"])
    assert {y for _, y in lines["full"]} == {y for _, y in lines["mate"]}


def test_time_line_and_box(sheet: Draw) -> None:
    pixels = sheet(ROW)
    assert has_colour(pixels, BOX) and has_colour(pixels, EVENT)
    bare = sheet({**ROW, "event": None, "box": None, "keyframe": None})
    assert not has_colour(bare, BOX) and not has_colour(bare, EVENT)
    assert bare.shape[0] < pixels.shape[0]


def test_the_crop_darkens_the_sides(sheet: Draw) -> None:
    """Of a frame's 64 columns the bars of bits 0 and 7 are the outer 8 on either side, just what the crop cuts off.
    Frame 142 = 0b10001110, third of its line, has bits 1, 2, 3 and 7 white.
    """
    plain, cropped = sheet(ROW), sheet(ROW, crop=True)
    x, y = strips(plain, [128, 135, 142, 149])[9]
    width = (COLUMN - 3 * 8) // 4
    bars = [x + 2 * (width + 8) + round((bar + 0.5) * width / 8) for bar in range(8)]
    assert (plain[y, bars].mean(axis=-1) > 200).tolist() == [False, True, True, True, False, False, False, True]
    assert cropped[y, bars[7]].mean() == pytest.approx(plain[y, bars[7]].mean() * DIMMED, abs=2)
    assert (cropped[y, bars[:7]] == plain[y, bars[:7]])[1:].all()


def test_a_row_with_an_error_has_a_picture_too(sheet: Draw) -> None:
    pixels = sheet({**ROW, "video": "gone.mp4"})
    assert has_colour(pixels, REJECTED) and pixels.shape[0] < 700


def test_every_rejected_answer_of_a_list_takes_its_lines(sheet: Draw) -> None:
    one, three = sheet(ROW), sheet({**ROW, "rejected": [ROW["rejected"], "Never.", "Not at all."]})
    assert has_colour(three, REJECTED) and 40 < three.shape[0] - one.shape[0] < 120


def test_long_words_and_texts_are_broken_not_cut(sheet: Draw) -> None:
    font = _font(20)
    for text in ("word " * 60, "x" * 300, "a " + "y" * 200 + " b", ""):
        lines = _wrap(text, 400, font)
        assert all(font.getlength(line) <= 400 for line in lines)
        assert "".join("".join(lines).split()) == "".join(text.split())
    assert _wrap("one\n\ntwo three", 400, font) == ["one", "", "two three"]
    tall, short = sheet({**ROW, "chosen": "word " * 600}), sheet(ROW)
    assert tall.shape[0] - short.shape[0] > 500


def test_the_font_has_accents_and_cyrillic() -> None:
    missing = bytes(_font(20).getmask("\uffff"))
    assert isinstance(_font(20), ImageFont.FreeTypeFont)
    assert all(bytes(_font(20).getmask(letter)) != missing for letter in "é×·яα")
