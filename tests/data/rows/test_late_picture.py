"""A picture that begins after its sound: times are those a player shows, so the first frame is not at 0 s."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED, needs_shared
from data.filmed import write_film

from vistadpo_plugin.data.rows.grounding import PICTURE_LATE, GroundedRow, from_first_frame, ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row

LATE, SECONDS = 2.0, 4.0


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames, ten a second, from 2.0 to 6.0 s on the clock of a sound that begins at 0 s; others for contrast."""
    folder = tmp_path_factory.mktemp("media")
    write_film(folder / "late.mp4", 40, late=LATE, sound=True)
    write_film(folder / "together.mp4", 40, sound=True)
    write_film(folder / "mute.mp4", 40, late=LATE)
    return folder


@pytest.fixture
def grounded(media: Path) -> Callable[..., GroundedRow]:
    def run(**changes: Any) -> GroundedRow:
        row = {"video": "late.mp4", "prompt": "p", "chosen": "c", "rejected": "r", **changes}
        return ground(parse_row(row, "rows.jsonl:1"), str(media), 2.0)

    return run


def test_times_are_those_of_a_player(grounded: Callable[..., GroundedRow]) -> None:
    """3.0 to 4.5 s are 1.0 to 2.5 s after the first frame; the longest stretch without them is 2.5 to 4.0 s."""
    row = grounded(event=[3.0, 4.5], keyframe=3.6)
    assert row.events == (pytest.approx((1.0, 2.5)),) and row.keyframe == pytest.approx(1.6)
    assert row.outside == pytest.approx((2.5, 4.0)) and row.late == pytest.approx(LATE)
    assert row.notes == (PICTURE_LATE,)


def test_an_event_may_begin_before_there_is_a_picture(grounded: Callable[..., GroundedRow]) -> None:
    assert grounded(event=[0.5, 3.0]).events == (pytest.approx((0.0, 1.0)),)
    assert grounded(keyframe=1.5).keyframe == 0.0  # annotators round


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"event": [0.5, 1.5]}, r"\[0\.5, 1\.5\] lies outside .*lasts 4\.00 s from its first picture at 2\.00 s"),
        ({"event": [6.5, 6.9]}, r"\[6\.5, 6\.9\] lies outside"),
        ({"keyframe": 0.5}, r"0\.5 lies outside .*first frame is at 2\.00 s"),
        ({"keyframe": 7.5}, r"7\.5 lies outside .*last frame is at 5\.90 s"),
    ],
)
def test_what_lies_outside_is_said_on_the_same_clock(
    grounded: Callable[..., GroundedRow], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(RowError, match=says):
        grounded(**change)


@pytest.mark.parametrize("video", ["together.mp4", "mute.mp4"])
def test_other_files_begin_at_0(grounded: Callable[..., GroundedRow], video: str) -> None:
    row = grounded(video=video, event=[1.0, 2.5], keyframe=1.6)
    assert (row.events, row.keyframe, row.late, row.notes) == (((1.0, 2.5),), 1.6, 0.0, ())


def test_a_row_without_times_is_not_concerned(grounded: Callable[..., GroundedRow]) -> None:
    assert grounded().notes == () and grounded().late == 0.0


def test_a_part_that_a_benchmark_asks_about_is_on_the_same_clock(media: Path) -> None:
    asked = GroundedRow("q", "question q", str(media / "late.mp4"), events=((3.0, 4.5),))
    assert from_first_frame(asked, 2.0).events == (pytest.approx((1.0, 2.5)),)
    with pytest.raises(RowError, match=r"gone\.mp4"):
        from_first_frame(GroundedRow("q", "question q", "gone.mp4", events=((1.0, 2.0),)), 2.0)


@needs_shared
def test_a_recording_whose_sound_starts_first() -> None:
    """Its picture is there from 2 to 8 s."""
    row = {"video": "late_picture.mp4", "prompt": "p", "chosen": "c", "rejected": "r", "event": [4.0, 6.5]}
    grounded = ground(parse_row(row, "rows.jsonl:2"), str(SHARED / "cases"), 2.0)
    assert grounded.events == (pytest.approx((2.0, 4.5)),) and grounded.notes == (PICTURE_LATE,)
