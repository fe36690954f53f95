"""`vistadpo bench --data`: its arithmetic, its videos, other decoders, and one true measurement on small videos."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from commands.bench_made import workers_here

from vistadpo_plugin.bench import decode, decoders, feed, long_videos
from vistadpo_plugin.bench.feed_report import costs, feed_summary, feed_table, workers
from vistadpo_plugin.commands.bench import main

# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "rows", "step", "needed"), [(1.0, 2, 2.0, 1), (1.04, 2, 2.31, 1), (3.7, 2, 1.92, 4), (2.0, 8, 1.0, 16)]
)
def test_workers(row: float, rows: int, step: float, needed: int) -> None:
    assert workers(row, rows, step) == needed


def turn(way: str, batch: int, core: float, **changes: Any) -> dict[str, Any]:
    figures = {"length": "30 s", "batch": batch, "rows": 2, "frames": 40, "clock_seconds": 2 * core}
    return {"way": way, "core_seconds": core, **figures, **changes}


TURNS = [
    turn("collator", 0, 1.0),
    turn("collator", 1, 4.0, frames=50),
    turn("collator", 0, 3.0),
    turn("collator", 2, 100.0),
    turn("ours", 0, 1.0),
    turn("ours", 1, 2.0, frames=50),
]


def test_costs_are_of_what_every_way_has_done() -> None:
    """Collator: batch 0 in 2 s, the median of two rounds, batch 1 in 4 s; 6 s and 90 frames for 4 rows. The third batch
    has been done by one of the two ways only."""
    collator, ours = costs(TURNS)
    assert (collator.way, collator.core_seconds, collator.clock_seconds, collator.frames) == (
        "collator",
        1.5,
        3.0,
        22.5,
    )
    assert (ours.way, ours.core_seconds) == ("ours", 0.75)


def test_table_and_workers() -> None:
    """1.5 s a row: two rows in 0.5 s take 6 workers."""
    measured = {"absent": {"decord": "not installed"}, "other_pictures": ["torchcodec"], "turns": TURNS}
    summary = feed_summary(measured, [0.5, 3.0])
    assert summary["rows_per_second_per_core"] == {"30 s": pytest.approx(2 / 3)}
    assert [one["workers"] for one in summary["workers"]] == [6, 1]
    text = feed_table(summary)
    assert "| 30 s | decoding the same frames into arrays: ours | 22.5 | 0.75 | 1.33 | 0.50 | 1.50 |" in text
    assert "a step of 2 rows in 0.5 s, 30 s videos: 6 loader workers" in text
    assert "decord: not installed" in text and "torchcodec: its pictures are not the frames asked for" in text


# --- videos and decoders ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Any:
    """30 s at 5 frames a second and 320 x 240 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("FPS", 5), ("WIDTH", 320), ("HEIGHT", 240)):
            patch.setattr(decode, name, value)
        yield


@pytest.fixture(scope="module")
def measured(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one measurement."""
    folder = tmp_path_factory.mktemp("bench")
    with workers_here():
        assert main(["--data", "--rounds", "1", "--step-seconds", "0.001,1000", "--folder", str(folder)]) == 0
    return folder / "data"


def test_long_video_is_the_short_one_again_and_again(measured: Path) -> None:
    """Ten times the same pictures at even times, in as many groups; no two files are one recording."""
    folder = measured / "data"
    with av.open(str(folder / "5_min_1.mp4")) as container:
        stamps = []
        for index, frame in enumerate(container.decode(video=0)):
            stamps.append(round(frame.time * 5))
            if index == 7:
                first = frame.to_ndarray(format="rgb24")
            if index == 157:
                assert (frame.to_ndarray(format="rgb24") == first).all()
    assert stamps == list(range(1500))
    contents = [path.read_bytes() for path in folder.glob("*_[01].mp4")]
    assert len(set(contents)) == len(contents) == 4


def test_frames_of_another_place_are_noticed(measured: Path) -> None:
    ours = decoders.installed()[0]["ours"]
    work = feed.Work("30 s", None, [], {str(measured / "data" / "30_s_0.mp4"): [3, 40, 90]})
    late = {"ours": ours, "late": lambda path, indices: ours(path, [index + 1 for index in indices])}
    assert feed._other_pictures(late, work) == ["late"]


@pytest.mark.parametrize("name", ["torchcodec", "decord"])
def test_another_decoder_gives_the_same_frames(measured: Path, name: str) -> None:
    found, absent = decoders.installed()
    if name not in found:
        pytest.skip(f"{name}: {absent[name]}")
    work = feed.Work("30 s", None, [], {str(measured / "data" / "30_s_0.mp4"): [0, 3, 40, 149]})
    assert feed._other_pictures({"ours": found["ours"], name: found[name]}, work) == []
    (pictures,) = work.by(found[name])
    assert pictures.shape == (4, 240, 320, 3) and pictures.dtype == np.uint8


def test_decoders_that_are_not_here_say_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "torchcodec"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('Could not load libtorchcodec.\\nLikely causes: FFmpeg')")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "decord", None)
    found, absent = decoders.installed()
    assert list(found) == ["ours"]
    assert absent == {"torchcodec": "cannot be loaded: Could not load libtorchcodec.", "decord": "not installed"}


# --- one true measurement --------------------------------------------------------------------------------------------


def test_measurement(measured: Path) -> None:
    """Every way is measured on every micro-batch: two of two rows for each length."""
    content = json.loads((measured / "bench.json").read_text())
    data = content["data"]
    ways = {"collator", "ours", "torchcodec", "decord"} - data["absent"].keys()
    assert {"collator", "ours"} <= ways and data["other_pictures"] == []
    assert len(data["turns"]) == len(ways) * 4
    assert {(cost["length"], cost["way"]) for cost in data["costs"]} == {
        (length, way) for length in ("30 s", "5 min") for way in ways
    }
    for cost in data["costs"]:
        for value in (cost["core_seconds"], cost["clock_seconds"]):
            assert math.isfinite(value) and value > 0, cost
        # Full video, clip and rejected clip of 8 frames each, and a keyframe; some frames are in two of them. The
        # unrelated video is the mate's own full one.
        assert 17 <= cost["frames"] <= 25, cost
    assert content["command"] == "vistadpo bench --data --rounds 1"
    assert data["rows_per_second_per_core"].keys() == {"30 s", "5 min"}
    slow = [one["workers"] for one in data["workers"] if one["step_seconds"] == 1000]
    fast = [one["workers"] for one in data["workers"] if one["step_seconds"] == 0.001]
    assert slow == [1, 1] and min(fast) > 1
    assert (measured / "bench.md").read_text() == feed_table(data) + "\n"


def test_measurement_leaves_the_process_its_cores() -> None:
    before = os.sched_getaffinity(0)
    with feed.one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_time_that_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No job has the name of a run: none is ended by a limit but this one."""
    with workers_here(endless=None):
        assert main(["--data", "--time-limit", "1", "--folder", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert "--time-limit 1: over after 0 measurements" in output.out
    assert "the time was over before anything was measured" in output.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "--step-seconds", "0"], "'0' is not a list of seconds, as in 2.31,1.92"),
        (["--data", "--step-seconds", "1,two"], "'1,two' is not a list of seconds"),
        (["--step-seconds", "2"], "--step-seconds goes with --data"),
        (["--data", "--uneven"], "--uneven does not go with --data"),
        (["--data", "--preset", "7b"], "--preset does not go with --data"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_lengths_are_what_their_names_say() -> None:
    assert {name: copies * decode.SECONDS for name, copies in long_videos.LENGTHS.items()} == {"30 s": 30, "5 min": 300}
