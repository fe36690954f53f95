"""Boxes of a whole data set: pixels as they should be, corners, or shares; in `validate` and in the log of a run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Demo, Run, keep_log, write_rows

from vistadpo_plugin.data.rows.box_style import CORNERS, SHARES, box_style
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.validation.examine import Options, examine
from vistadpo_plugin.validation.source import find_source

WIDTH, HEIGHT = 640, 360


def boxes(count: int, seed: int = 0) -> list[Box]:
    """Objects anywhere in the frame, up to half of it wide and high: x, y, width, height in pixels."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        w, h = chance.uniform(20, WIDTH / 2), chance.uniform(20, HEIGHT / 2)
        made.append((chance.uniform(0, WIDTH - w), chance.uniform(0, HEIGHT - h), w, h))
    return made


def corners(given: list[Box]) -> list[Box]:
    return [(x, y, x + w, y + h) for x, y, w, h in given]


def shares(given: list[Box]) -> list[Box]:
    return [(x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT) for x, y, w, h in given]


def style(given: list[Box], size: tuple[int, int] = (WIDTH, HEIGHT)) -> str | None:
    found = box_style([GroundedRow(str(i), "", "a.mp4", frame_size=size, drawn=(box,)) for i, box in enumerate(given)])
    return found and found[0]


@pytest.mark.parametrize("seed", range(20))
def test_styles_are_told_apart(seed: int) -> None:
    right = boxes(12, seed)
    assert style(right) is None
    assert style(corners(right)) == CORNERS
    assert style(shares(right)) == style(corners(shares(right))) == SHARES


def test_odd_files_that_are_right() -> None:
    """Large objects, whole frames, objects over the edge, objects in the upper left, and few of any kind."""
    assert style([(0, 0, WIDTH, HEIGHT)] * 20) is None
    assert style([(5, 5, WIDTH - 10, HEIGHT - 10)] * 20) is None
    assert style([(WIDTH - 50, HEIGHT - 50, 100, 100)] * 20) is None
    assert style([(3, 3, 60, 40)] * 20) is None
    assert style(corners(boxes(7))) is None
    assert style([]) is None


def test_mixtures() -> None:
    """One box of other making among many does not hide what the file is; half of them do."""
    right = boxes(40)
    assert style(corners(right[:39]) + right[39:]) == CORNERS and style(shares(right[:39]) + right[39:]) == SHARES
    assert style(corners(right[:20]) + right[20:]) is None and style(shares(right[:20]) + right[20:]) is None


def test_without_a_frame_only_shares_can_be_told() -> None:
    assert style(corners(boxes(20)), (0, 0)) is None and style(shares(boxes(20)), (0, 0)) == SHARES


@pytest.fixture
def changed(demo: Demo, tmp_path: Path) -> Callable[[str], Path]:
    """The demo's rows with their boxes, all over its frames, written otherwise."""

    def write(how: str) -> Path:
        rows = []
        for index, row in enumerate(demo.rows):
            x, y, w, h = row["box"] = [30 + 2 * index, 40, 50, 45]
            written = {"pixels": [x, y, w, h], "corners": [x, y, x + w, y + h], "shares": [x / 112, y / 112, 0.4, 0.4]}
            rows.append({**row, "box": written[how]})
        return write_rows(tmp_path / how, rows)

    return write


KINDS = {"pixels": [], "corners": ["boxes-as-corners"], "shares": ["boxes-as-shares"]}


@pytest.mark.parametrize("how", KINDS)
def test_validate_says_so_of_the_whole_file(how: str, changed: Callable[[str], Path], demo: Demo) -> None:
    path = changed(how)
    report = examine(find_source(str(path), None), Options(str(demo.data), True, decode=False))
    assert [finding.kind for finding in report.findings if finding.kind.startswith("boxes-as")] == KINDS[how]
    blind = examine(find_source(str(path), None), Options(None))
    told = KINDS[how] if how == "shares" else []
    assert [finding.kind for finding in blind.findings if finding.kind.startswith("boxes-as")] == told


def test_a_run_says_it_before_its_first_step(
    changed: Callable[[str], Path], train: Callable[..., Run], demo: Demo
) -> None:
    data = changed("corners")
    with keep_log([]) as said:
        train(dataset="rows", dataset_dir=str(data.parent), max_steps=1)
    (line,) = [line for line in "\n".join(said).splitlines() if "corners" in line]
    assert line.startswith("  warning: ") and "of 16 boxes reach over the edge of the frame" in line
    assert len(json.loads(data.read_text().splitlines()[0])["box"]) == 4
