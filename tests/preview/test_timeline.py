"""What lies where on the time line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from barcode_rows import MATE_ROW, ROW, settings_for, write_media, write_rows

from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, FULL, KEYFRAME
from vistadpo_plugin.preview.candidates import read_candidates
from vistadpo_plugin.preview.shown import show_row
from vistadpo_plugin.preview.timeline import Timeline, _ticks, make_timeline

Draw = Callable[..., Timeline | None]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def draw(media: Path, tmp_path: Path) -> Draw:
    """The time line of ROW with changes, under recipe keys."""

    def run(keys: dict[str, Any] | None = None, **changes: Any) -> Timeline | None:
        settings = settings_for(write_rows(tmp_path, {**ROW, **changes}, MATE_ROW), media, **(keys or {}))
        own, mate = read_candidates(settings)
        return make_timeline(show_row(settings.builder(), own.row, own.grounded, mate.grounded))

    return run


def test_a_lane_for_every_view_of_the_own_video(draw: Draw) -> None:
    line = draw()
    assert line.duration == pytest.approx(4.0)
    assert line.events == ((1.0, 2.0),) and line.outside == pytest.approx((2.0, 4.0))
    assert list(line.lanes) == [FULL, CLIP, CLIP_NEGATIVE, KEYFRAME]
    assert line.lanes[FULL] == pytest.approx((0, 0.5, 1.1, 1.6, 2.2, 2.7, 3.3, 3.9))
    assert line.lanes[CLIP] == pytest.approx((1.0, 1.1, 1.2, 1.4, 1.5, 1.7, 1.8, 2.0))
    assert line.lanes[KEYFRAME] == pytest.approx((1.4,))
    assert line.share(1.0) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("keys", "changes", "lanes", "outside"),
    [
        ({"vista_clip_negative": "other"}, {}, [FULL, CLIP, KEYFRAME], False),
        ({"vista_clip_negative": "reverse"}, {}, [FULL, CLIP, KEYFRAME], False),
        ({}, {"event": None, "clip_w": "clip_w", "clip_l": "clip_l"}, [FULL, KEYFRAME], False),
        ({}, {"keyframe": "clip_w/frame_2.png"}, [FULL, CLIP, CLIP_NEGATIVE], True),
        ({"vista_response_weight": 0, "vista_video_weight": 0}, {}, [CLIP, CLIP_NEGATIVE, KEYFRAME], True),
    ],
)
def test_what_is_not_read_from_the_own_video_has_no_lane(
    draw: Draw, keys: dict[str, Any], changes: dict[str, Any], lanes: list[str], outside: bool
) -> None:
    line = draw(keys, **changes)
    assert list(line.lanes) == lanes and (line.outside is not None) == outside


def test_a_single_frame_has_no_time_line(draw: Draw) -> None:
    assert draw(video=["clip_w/frame_1.png"], event=None, keyframe=None, box=None) is None


@pytest.mark.parametrize(
    ("duration", "ticks"),
    [
        (4.0, [0, 1, 2, 3, 4]),
        (9.72, [0, 2, 4, 6, 8]),
        (0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (61.0, [0, 20, 40, 60]),
        (7200.0, [0, 1800, 3600, 5400, 7200]),
    ],
)
def test_ticks_are_round_and_few(duration: float, ticks: list[float]) -> None:
    assert _ticks(duration) == pytest.approx(tuple(ticks))
