"""Whatever a row says: a finding or a usable row, never a traceback; and boxes and events keep what they cover."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctor_media import GROUNDED, make_media
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import FIELDS, Row, RowError, parse_row
from vistadpo_plugin.data.video.intervals import inside_events
from vistadpo_plugin.data.views.negatives import scaled_boxes
from vistadpo_plugin.validation.examine import Options, examine
from vistadpo_plugin.validation.files import Problem, VideoJob, inspect
from vistadpo_plugin.validation.kinds import KINDS
from vistadpo_plugin.validation.report import as_json, as_text
from vistadpo_plugin.validation.source import find_source

WIDTH, HEIGHT = 64, 48
quick = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

SPECIAL = st.sampled_from(
    [math.nan, math.inf, 10**400, -0.0, "", " ", "\x00", "<video>", "x" * 5000, [1, 2], [[0, 1], [3, 2]], [1, 2, 3, 4],
     [[1, 2, 3, 4], []], "'x': 1, 'y': 2, 'w': 3, 'h': 4"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | SPECIAL
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3))
PATHS = st.sampled_from(
    ["a.mp4", "a", "frames", "key.png", "keys", "broken.mp4", "cut.png", "empty", "hole", "gone", ".", "/", "\x00"]
)
NUMBERS = st.floats(-1, 5)
VALUES = {name: JSON for name in (*FIELDS, "own")} | {
    **{name: st.text() | JSON for name in ("prompt", "chosen", "rejected", "rejected_irrelevant", "rejected_2", "id")},
    **{name: PATHS | JSON for name in ("clip_w", "clip_l", "frame")},
    "video": PATHS | st.lists(PATHS, max_size=3) | JSON,
    "rejected_keyframe": PATHS | st.lists(PATHS, max_size=3) | JSON,
    **{
        name: PATHS | st.lists(PATHS | st.lists(PATHS, max_size=2), max_size=3) | JSON
        for name in ("rejected_video", "rejected_clip")
    },
    "keyframe": PATHS | NUMBERS | JSON,
    "event": st.lists(NUMBERS, max_size=3) | st.lists(st.lists(NUMBERS, max_size=2), max_size=3) | JSON,
    "box": st.lists(st.floats(-50, 200), min_size=4, max_size=4) | JSON,
}
ROWS = st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


def mostly_sound(odd: dict[str, Any]) -> dict[str, Any]:
    """GROUNDED on a folder of frames (quick to read) with odd fields; a released name takes the place of ours, so that
    the row gets past that conflict.
    """
    other = {"rejected_2": "rejected_irrelevant", "bbox": "box", "frame": "keyframe", "clip_w": "event",
             "clip_l": "event"}  # fmt: skip
    replaced = {other[name] for name in odd if name in other}
    clips = {"clip_w": "frames", "clip_l": "frames"} if {"clip_w", "clip_l"} & odd.keys() else {}
    sound = {**GROUNDED, "video": "frames", **clips}
    return {**{name: value for name, value in sound.items() if name not in replaced}, **odd}


@quick
@given(odd=ROWS)
def test_any_value_in_any_field_is_a_row_or_a_finding(media: Path, odd: dict[str, Any]) -> None:
    """Through the text of a line and through the files, as the worker of `vistadpo validate` does it."""
    try:
        row = parse_row(json.dumps(mostly_sound(odd)), "rows.jsonl:1")
    except RowError as error:
        assert error.kind in KINDS and str(error).startswith("rows.jsonl:1")
        return
    (outcome,) = inspect(VideoJob((row,), str(media), 2.0, decode=True)).rows
    if isinstance(outcome, Problem):
        assert outcome.kind in KINDS and outcome.kind != "unexpected-error", outcome.message
    else:
        assert GroundedRow.from_json(outcome.to_json()) == outcome


@settings(quick, max_examples=3)
@given(odd=st.lists(ROWS | JSON, min_size=10, max_size=25))
def test_any_file_of_rows_has_a_report(media: Path, odd: list[Any]) -> None:
    """From the file to the printed page; every row is counted as usable or has an error."""
    path = media / "odd.jsonl"
    rows = [GROUNDED, *(mostly_sound(row) if isinstance(row, dict) else row for row in odd)]  # "[" would begin a list
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = examine(find_source(str(path), None), Options(str(media), given=True))
    refused = {finding.place for finding in report.findings if finding.severity == "error"}
    assert report.rows == len(rows) == len(report.usable) + len(refused)
    assert "unexpected-error" not in {finding.kind for finding in report.findings}
    assert f"{report.rows} rows" in as_text(report, 5)
    json.dumps(as_json(report))


BOXES = st.tuples(*[st.integers(-20, 80)] * 2, *[st.integers(1, 90)] * 2)


def grounded(media: Path, **changes: Any) -> GroundedRow:
    """A row on frames of 160 x 120 pixels at 2 a second, six of them."""
    row = {"video": "frames", "prompt": "p", "chosen": "c", "rejected": "r", "keyframe": "key.png", **changes}
    return ground(parse_row(row, "w"), str(media), 2.0)


def covered(boxes: Any, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Which pixels of a frame the whole-numbered boxes cover: bool (height, width)."""
    grid = np.zeros((size[1], size[0]), dtype=bool)
    for x, y, w, h in boxes:
        grid[max(0, int(y)) : max(0, int(y + h)), max(0, int(x)) : max(0, int(x + w))] = True
    return grid


@quick
@given(boxes=st.lists(BOXES, min_size=1, max_size=4))
def test_clipping_a_box_keeps_just_the_pixels_it_covers(media: Path, boxes: list[Any]) -> None:
    """The key image has 64 x 48 pixels; clipping again changes nothing."""
    row = grounded(media, box=boxes)
    assert (covered(row.boxes) == covered(boxes)).all()
    assert all(0 <= x < x + w <= WIDTH and 0 <= y < y + h <= HEIGHT for x, y, w, h in row.boxes)
    if row.boxes:
        assert grounded(media, box=[list(box) for box in row.boxes]).boxes == row.boxes
    else:
        assert not covered(boxes).any() and row.off["box"]


INSIDE = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)).flatmap(
    lambda corner: st.tuples(
        st.just(corner[0]), st.just(corner[1]), st.integers(1, WIDTH - corner[0]), st.integers(1, HEIGHT - corner[1])
    )
)


@quick
@given(box=INSIDE, factor=st.integers(1, 9))
def test_scaling_a_box_up_and_down_gives_it_back(box: tuple[int, int, int, int], factor: int) -> None:
    x, y, w, h = box
    size, large = (WIDTH, HEIGHT), (WIDTH * factor, HEIGHT * factor)
    ((left, top, right, bottom),) = scaled_boxes((box,), size, large)  # type: ignore[arg-type]
    assert (left, top, right, bottom) == (x * factor, y * factor, (x + w) * factor, (y + h) * factor)
    there = (left, top, right - left, bottom - top)
    assert scaled_boxes((there,), large, size) == [(x, y, x + w, y + h)]  # type: ignore[arg-type]


@quick
@given(box=INSIDE, width=st.integers(1, 300), height=st.integers(1, 300))
def test_a_scaled_box_covers_the_object_and_no_pixel_more_than_it_must(
    box: tuple[int, int, int, int], width: int, height: int
) -> None:
    ((left, top, right, bottom),) = scaled_boxes((box,), (WIDTH, HEIGHT), (width, height))  # type: ignore[arg-type]
    x, y, w, h = box
    close = 1e-9  # of rounding, so that a whole number may go either way
    for low, high, start, length, scale in ((left, right, x, w, width / WIDTH), (top, bottom, y, h, height / HEIGHT)):
        assert low <= start * scale + close and high >= (start + length) * scale - close
        assert low > start * scale - 1 - close and high < (start + length) * scale + 1 + close
        assert low < high
    assert 0 <= left and right <= width and 0 <= top and bottom <= height


TENTHS = st.integers(0, 39)
EVENTS = st.lists(st.tuples(TENTHS, st.integers(1, 10)), min_size=1, max_size=5)


@quick
@given(spans=EVENTS)
def test_merging_events_keeps_what_they_cover(spans: list[tuple[int, int]]) -> None:
    """In tenths of a second, looked at in the middle of each tenth, so that no edge is hit; merging again is idle."""
    events = [[start / 10, (start + length) / 10] for start, length in spans]
    row: Row = parse_row({**GROUNDED, "event": events}, "w")
    for middle in (tenth / 10 + 0.05 for tenth in range(60)):
        written = any(start < middle < end for start, end in events)
        assert written == any(start < middle < end for start, end in row.events)
    assert all(first[1] < second[0] for first, second in zip(row.events, row.events[1:], strict=False))
    again = parse_row({**GROUNDED, "event": [list(event) for event in row.events]}, "w")
    assert again.events == row.events


@quick
@given(start=st.integers(0, 50), length=st.integers(1, 40))
def test_an_event_is_clipped_to_its_video_and_no_further(media: Path, start: int, length: int) -> None:
    """Six frames at two a second: 3 s, at most 1 s of which may be missing. In tenths of a second."""
    event = (start / 10, (start + length) / 10)
    try:
        row = grounded(media, event=event)
    except RowError as error:
        assert error.kind == "event-outside-video" and (start >= 30 or start + length > 40)
        return
    frames = np.arange(6) / 2
    inside = [event[0] - 1e-6 <= time <= event[1] + 1e-6 for time in frames]
    if "event" in row.off:
        assert not any(inside)
        return
    assert row.events == ((event[0], min(event[1], 3.0)),)
    assert inside_events(frames, row.events).tolist() == inside
    assert GroundedRow.from_json(row.to_json()) == row
