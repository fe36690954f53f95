"""The synthetic videos: what the rows claim about a video is what its decoded pixels show."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vistadpo_plugin.demo.shapes import (
    ACTIONS,
    COLOURS,
    FPS,
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Scene,
    build_videos,
    draw_frames,
    draw_scene,
    write_video,
)

TOLERANCE = 2  # px: chroma is stored at half resolution, which blurs a shape's edge


def decode(path: Path) -> np.ndarray:
    """(frames, height, width, 3) uint8."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def find_colour(image: np.ndarray, colour: str) -> tuple[int, int, int, int] | None:
    """Bounding box (x, y, w, h) of the pixels nearer to `colour` than half way to the background; None if absent."""
    near = np.abs(image.astype(int) - COLOURS[colour]).sum(-1) < 90
    if not near.any():
        return None
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    build_videos(folder, rows=48, seed=0)
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Scene, np.ndarray]]:
    """Scenes and their decoded videos, among them every action."""
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("scenes") / "scene.mp4"
    made: list[tuple[Scene, np.ndarray]] = []
    for _ in range(12):
        scene = draw_scene(rng)
        write_video(scene, path)
        made.append((scene, decode(path)))
    assert {actor.action for scene, _ in made for actor in scene.actors} == set(ACTIONS)
    return made


def test_box_is_tight_at_the_keyframe(scenes: list[tuple[Scene, np.ndarray]]) -> None:
    for scene, frames in scenes:
        for actor in scene.actors:
            found = find_colour(frames[actor.keyframe], actor.colour)
            assert found is not None, actor
            x, y, w, h = actor.box(actor.keyframe)
            expected = (x, y, x + w, y + h)
            measured = (found[0], found[1], found[0] + found[2], found[1] + found[3])
            assert np.abs(np.subtract(expected, measured)).max() <= TOLERANCE, (actor, found)


def test_shape_stands_still_outside_its_event_and_acts_inside(scenes: list[tuple[Scene, np.ndarray]]) -> None:
    for scene, frames in scenes:
        for actor in scene.actors:
            boxes = [find_colour(frame, actor.colour) for frame in frames]
            for still in (boxes[: actor.start + 1], boxes[actor.end :]):
                assert None not in still, actor
                assert np.ptp(np.array(still), axis=0).max() <= TOLERANCE, actor
            if actor.action == "blink":
                assert None in boxes[actor.start : actor.end]
            else:
                change = np.subtract(boxes[actor.start], boxes[actor.end])
                assert np.abs(change).max() >= 15, actor


def test_shapes_keep_apart_and_inside_the_centre_square() -> None:
    rng = random.Random(2)
    for scene in (draw_scene(rng) for _ in range(50)):
        for frame in range(0, scene.frames, 5):
            covered = np.zeros((HEIGHT, WIDTH), dtype=int)
            for actor in scene.actors:
                x, y, w, h = actor.box(frame)
                assert LEFT <= x and x + w <= RIGHT and 0 <= y and y + h <= HEIGHT
                covered[y : y + h, x : x + w] += 1
            assert covered.max() == 1


def test_events_leave_time_without_them(folder: Path, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        duration = len(decode(folder / row["video"])) / FPS
        assert 4 <= duration <= 6
        if "event" not in row:
            continue
        start, end = row["event"]
        assert 0 < start < row["keyframe"] < end < duration
        assert duration - (end - start) >= 1.5


def test_video_plays_at_the_stated_times(folder: Path, rows: list[dict[str, Any]]) -> None:
    with av.open(str(folder / rows[0]["video"])) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
        assert (stream.width, stream.height, stream.average_rate) == (WIDTH, HEIGHT, FPS)
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.frames == len(times)
    assert times == [i / FPS for i in range(len(times))]


def test_rows_fields(folder: Path, rows: list[dict[str, Any]]) -> None:
    everything = {"id", "video", "prompt", "chosen", "rejected", "rejected_irrelevant", "event", "keyframe", "box"}
    thinned = {"event", "box", "rejected_irrelevant"}
    assert all(set(row) == everything for row in rows[:8])
    assert all(set(row) | thinned == everything for row in rows)
    for field in thinned:
        assert sum(field not in row for row in rows) == 5, field
    assert len({row["id"] for row in rows}) == 48
    assert len({row["video"] for row in rows}) == 40
    assert all((folder / row["video"]).is_file() for row in rows)
    assert all(row["chosen"] != row["rejected"] for row in rows)


def test_the_true_answer_names_the_shape_in_the_box(folder: Path, rows: list[dict[str, Any]]) -> None:
    for row in (row for row in rows if "box" in row):
        image = decode(folder / row["video"])[round(row["keyframe"] * FPS)]
        x, y, w, h = row["box"]
        # A triangle fills half its box, evenly about the vertical axis: the middle of the lower half is always covered.
        pixel = image[y + 3 * h // 4, x + w // 2].astype(int)
        colour = min(COLOURS, key=lambda name: np.abs(pixel - COLOURS[name]).sum())
        assert colour in row["chosen"], row


def test_same_seed_same_rows(folder: Path, tmp_path: Path) -> None:
    expected = (folder / "rows.jsonl").read_bytes()
    build_videos(tmp_path / "same", rows=48, seed=0)
    assert (tmp_path / "same" / "rows.jsonl").read_bytes() == expected
    build_videos(tmp_path / "other", rows=48, seed=1)
    assert (tmp_path / "other" / "rows.jsonl").read_bytes() != expected


def test_frames_are_as_many_as_the_scene_says() -> None:
    scene = draw_scene(random.Random(3))
    frames = list(draw_frames(scene))
    assert len(frames) == scene.frames
    assert frames[0].shape == (HEIGHT, WIDTH, 3) and frames[0].dtype == np.uint8


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows must be 1 or more"):
        build_videos(tmp_path, rows=0, seed=0)
