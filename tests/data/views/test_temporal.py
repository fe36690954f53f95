"""Rejected views that are the preferred one's frames at other times: orders by hand, after TEMPLE's definition.

Magnitude r cuts n frames into groups of max(1, n // r), the last of which may be shorter; drop leaves max(1, n // r).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.barcode_video import codes, write_video
from data.views.test_score_keys import others, row  # noqa: F401

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.views.keys import CURRICULUM, ViewKeys
from vistadpo_plugin.data.views.negatives import dropped, reversed_order, shuffled
from vistadpo_plugin.data.views.score_keys import score_keys
from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, FULL, VIDEO_NEGATIVE, ViewBuilder, ViewRequest


@pytest.mark.parametrize(
    ("count", "magnitude", "order"),
    [
        (8, 2, [4, 5, 6, 7, 0, 1, 2, 3]),
        (8, 4, [6, 7, 4, 5, 2, 3, 0, 1]),
        (8, 8, [7, 6, 5, 4, 3, 2, 1, 0]),
        (8, 16, [7, 6, 5, 4, 3, 2, 1, 0]),
        (8, None, [7, 6, 5, 4, 3, 2, 1, 0]),
        (5, 2, [4, 2, 3, 0, 1]),  # groups of two, the last of one
        (7, 4, [6, 5, 4, 3, 2, 1, 0]),  # 7 // 4 = 1
        (32, 16, [frame for first in range(30, -1, -2) for frame in (first, first + 1)]),
        (1, 2, [0]),
    ],
)
def test_groups_in_reverse(count: int, magnitude: int | None, order: list[int]) -> None:
    assert reversed_order(list(range(count)), magnitude) == order


@pytest.mark.parametrize(("count", "magnitude", "size"), [(8, 2, 4), (8, 4, 2), (32, 16, 2), (8, 16, 1), (9, 4, 2)])
def test_groups_are_shuffled_whole_and_never_stay(count: int, magnitude: int, size: int) -> None:
    """Two groups of four have one other order; four have 23, of which many come up."""
    groups = [tuple(range(first, min(first + size, count))) for first in range(0, count, size)]
    orders = set()
    for seed in range(60):
        order = shuffled(list(range(count)), np.random.default_rng(seed), magnitude)
        assert order != list(range(count)) and sorted(order) == list(range(count))
        starts = [place for place, frame in enumerate(order) if frame % size == 0]
        assert sorted(tuple(order[a:b]) for a, b in zip(starts, [*starts[1:], count], strict=True)) == groups
        orders.add(tuple(order))
    assert len(orders) == 1 if len(groups) == 2 else len(orders) > 15


@pytest.mark.parametrize(
    ("count", "magnitude", "left"), [(8, 2, 4), (8, 4, 2), (8, 8, 1), (8, 16, 1), (8, None, 1), (32, 16, 2), (5, 2, 2)]
)
def test_frames_that_are_left_stay_until_the_next(count: int, magnitude: int | None, left: int) -> None:
    drawn = set()
    for seed in range(40):
        shown = dropped(list(range(count)), np.random.default_rng(seed), magnitude)
        kept = sorted(set(shown))
        assert len(shown) == count and len(kept) == left
        for place, frame in enumerate(shown):
            assert frame == max([one for one in kept if one <= place], default=kept[0])
        drawn.add(tuple(kept))
    assert len(drawn) > 5


def test_the_magnitude_of_every_epoch() -> None:
    def of(magnitude: str, **keys: Any) -> ViewKeys:
        return ViewKeys.of(VistaArguments(vista_temporal_magnitude=magnitude, **keys))

    assert CURRICULUM == (16, 8, 4, 2)
    assert [of("curriculum").magnitude(epoch) for epoch in range(6)] == [16, 8, 4, 2, 2, 2]
    assert [of("4").magnitude(epoch) for epoch in range(3)] == [4, 4, 4]
    assert [of("frames").magnitude(epoch) for epoch in range(3)] == [None] * 3
    assert of("curriculum", vista_clip_negative="drop").stages == 4
    for keys in ({}, {"vista_clip_negative": "drop", "vista_clip_weight": 0.0}, {"vista_video_negative": "noise"}):
        assert of("curriculum", **keys).stages == 1
    assert of("2", vista_video_negative="reverse").stages == 1


@pytest.fixture(scope="module")
def grounded(tmp_path_factory: pytest.TempPathFactory) -> GroundedRow:
    media = tmp_path_factory.mktemp("media")
    write_video(media / "own.mp4", range(40))
    source = {"video": "own.mp4", "prompt": "p", "chosen": "c", "rejected": "r", "event": [1.0, 2.0]}
    return ground(parse_row(source, "rows.jsonl:3"), str(media), 2.0)


def test_the_frames_of_the_files_are_those_of_the_order(grounded: GroundedRow) -> None:
    """Eight of 40: 0, 5, 11, 16, 22, 27, 33, 39; the clip's four of 10 to 20: 10, 13, 16, 20."""

    def build(magnitude: int | None, **keys: str) -> dict[str, list[int]]:
        vista = VistaArguments(vista_clip_frames=4, **keys)
        builder = ViewBuilder(ViewKeys.of(vista), 2.0, 8, 8, lambda image: image, seed=1)
        request = ViewRequest(grounded, None, {FULL, VIDEO_NEGATIVE, CLIP, CLIP_NEGATIVE}, magnitude)
        (built,) = builder.build_all([request])
        assert built.errors == []
        assert codes(built.views[FULL]) == [0, 5, 11, 16, 22, 27, 33, 39]
        assert codes(built.views[CLIP]) == [10, 13, 16, 20]
        return {name: codes(frames) for name, frames in built.views.items()}

    backwards = build(2, vista_video_negative="reverse", vista_clip_negative="reverse")
    assert backwards[VIDEO_NEGATIVE] == [22, 27, 33, 39, 0, 5, 11, 16]
    assert backwards[CLIP_NEGATIVE] == [16, 20, 10, 13]
    drop = build(4, vista_video_negative="drop", vista_clip_negative="shuffle")
    assert len(set(drop[VIDEO_NEGATIVE])) == 2 and len(drop[VIDEO_NEGATIVE]) == 8
    assert drop[VIDEO_NEGATIVE] == sorted(drop[VIDEO_NEGATIVE])
    assert sorted(drop[CLIP_NEGATIVE]) == [10, 13, 16, 20] != drop[CLIP_NEGATIVE]
    assert build(4, vista_video_negative="drop", vista_clip_negative="shuffle") == drop
    assert build(None, vista_video_negative="reverse", vista_clip_negative="black")[VIDEO_NEGATIVE] == [
        39, 33, 27, 22, 16, 11, 5, 0
    ]  # fmt: skip


def test_each_magnitude_has_a_key_of_its_own(
    vista: Callable[..., Any],
    row: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    """For the views that are made so; drop and shuffle are drawn from the seed, reverse is not."""

    def made(magnitude: int | None, seed: int = 1, **keys: str) -> dict[str, str]:
        views = ViewBuilder(ViewKeys.of(vista(**keys)), 2.0, 8, None, lambda image: image, seed)
        return score_keys(**row, views=views, magnitude=magnitude)

    temporal = {"vista_video_negative": "reverse", "vista_clip_negative": "drop"}
    by_magnitude = {magnitude: made(magnitude, **temporal) for magnitude in (None, 16, 8, 4, 2)}
    for view, several in (("video_negative", 5), ("clip_negative", 5), ("full", 1), ("keyframe_negative", 1)):
        assert len({one[view] for one in by_magnitude.values()}) == several
    assert others(made(4, **temporal), made(4, seed=2, **temporal)) == {"clip_negative"}
    assert made(4) == made(None)  # a mate's video and a stretch without the event have none
    own = replace(row["grounding"], rejected_videos=(str(tmp_path / "mate.mp4"),))
    views = ViewBuilder(ViewKeys.of(vista(**temporal)), 2.0, 8, None, lambda image: image, 1)
    four, two = (score_keys(**{**row, "grounding": own}, views=views, magnitude=magnitude) for magnitude in (4, 2))
    assert others(four, two) == {"clip_negative"}  # its own rejected video is not changed
