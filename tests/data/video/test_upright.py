"""Frames are as players show them: upright, with square pixels; and a box lies where it was drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, needs_shared
from data.barcode_video import HEIGHT, WIDTH
from data.filmed import MATRICES, as_shown, set_matrix, write_film
from PIL import Image

from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.video.decode import decode_all
from vistadpo_plugin.data.video.video import FrameSource, VideoError, frame_size, image_size, open_image

CASES = SHARED / "cases"


def frames(path: Path) -> dict[int, Image.Image]:
    """The frames 2 and 9 as training reads them."""
    return FrameSource(str(path), 2.0).read(lambda times: {2, 9}, lambda image: image)[1]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Image.Image]:
    return frames(write_film(tmp_path_factory.mktemp("stored") / "film.mp4"))


@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_turned_as_the_matrix_says(name: str, stored: dict[int, Image.Image], tmp_path: Path) -> None:
    path = set_matrix(write_film(tmp_path / "film.mp4"), MATRICES[name])
    whole, _ = decode_all(str(path), {2, 9}, lambda image: image)
    for read in (frames(path), whole):
        assert {index: image.tobytes() for index, image in read.items()} == {
            index: as_shown(image, MATRICES[name]).tobytes() for index, image in stored.items()
        }
        assert read[2].size == frame_size(str(path)) == ((HEIGHT, WIDTH) if "quarter" in name else (WIDTH, HEIGHT))


def test_another_angle_is_refused(tmp_path: Path) -> None:
    half = math.sqrt(0.5)
    path = set_matrix(write_film(tmp_path / "tilted.mp4"), (half, half, -half, half))
    for attempt in (lambda: frame_size(str(path)), lambda: frames(path)):
        with pytest.raises(VideoError, match=r"tilted\.mp4: its display matrix.* is no quarter turn"):
            attempt()


@pytest.mark.parametrize(
    ("pixel", "size"),
    [("4:3", (85, 48)), ("8:9", (64, 54)), ("1:2", (64, 96)), ("1280:1281", (64, 48))],
)
def test_pixels_become_square_and_none_is_lost(
    pixel: str, size: tuple[int, int], stored: dict[int, Image.Image], tmp_path: Path
) -> None:
    """64 * 4/3 = 85.3, 48 * 9/8 = 54, 48 * 2 = 96; a thousandth off is what sizes rounded to even numbers leave."""
    path = write_film(tmp_path / "film.mp4", pixel=pixel)
    read = frames(path)
    assert {image.size for image in read.values()} == {frame_size(str(path))} == {size}
    for index, image in read.items():
        back = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int16)
        apart = np.abs(back - np.asarray(stored[index], np.int16)).mean()
        assert apart == 0 if size == (WIDTH, HEIGHT) else apart < 8, "not the picture that is stored"


def test_wide_pixels_are_made_square_before_they_are_turned(tmp_path: Path) -> None:
    path = set_matrix(write_film(tmp_path / "film.mp4", pixel="4:3"), MATRICES["a quarter to the right"])
    assert frame_size(str(path)) == frames(path)[2].size == (48, 85)


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    """Orientation 6: the camera was held upright; viewers turn the picture a quarter to the right."""
    image = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = str(tmp_path / "key.png")
    image.save(path, exif=exif)
    assert image_size(path) == (4, 6)
    assert open_image(path).tobytes() == as_shown(image, MATRICES["a quarter to the right"]).tobytes()


@needs_shared
@pytest.mark.parametrize(
    ("file", "size", "box"),
    [("turned_90.mp4", (180, 320), [100, 200, 60, 80]), ("wide_pixels.mp4", (427, 180), [340, 100, 60, 60])],
)
def test_a_box_drawn_on_what_players_show_lies_inside(file: str, size: tuple[int, int], box: list[int]) -> None:
    row = {"video": file, "prompt": "p", "chosen": "c", "rejected": "r", "keyframe": 1.6, "box": box}
    grounded = ground(parse_row(row, "rows.jsonl:1"), str(CASES), 2.0)
    assert (grounded.frame_size, grounded.boxes, grounded.notes) == (size, (tuple(map(float, box)),), ())
    assert "box" not in grounded.off
