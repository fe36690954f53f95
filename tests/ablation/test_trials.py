"""Trials of an ablation that fail or lose: named, reported, and tried again or never asked the test."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import pytest
from ablation.made import fork_workers, recipe_keys, report, write_recipe
from conftest import IMAGE_SIZE, PATCH, Demo

from vistadpo_plugin.commands.main import main
from vistadpo_plugin.demo.tiny_model import build_tiny_video_llava


@pytest.fixture(autouse=True, scope="module")
def _forked() -> None:
    fork_workers()


def test_a_rung_that_fails_is_named_and_the_others_go_on(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One that training refuses, and one whose process is killed, as for want of memory; that one goes well later."""
    rungs = {"short": {"cutoff_len": 8}, "killed": {"max_steps": 12}, "fine": {"max_steps": 1}}
    recipe = write_recipe(tmp_path, recipe_keys(demo, tmp_path, rungs=rungs, seeds=[0]))
    killer = threading.Thread(
        target=kill_worker_at, args=(tmp_path / "out/runs/model/killed/seed_0/model/checkpoint-2",)
    )
    killer.start()
    assert main(["ablate", str(recipe)]) == 1
    killer.join()
    said = capsys.readouterr().out
    assert "FAILED: model.short.seed_0, training: " in said and "cutoff_len" in said
    assert "FAILED: model.killed.seed_0, training: its process ended with code -9." in said
    trials = {trial["rung"]: trial for trial in report(tmp_path)["trials"]}
    status = {rung: trial["status"] for rung, trial in trials.items()}
    assert status == {"short": "failed", "killed": "failed", "fine": "finished"}
    assert "cutoff_len" in trials["short"]["error"] and "Traceback" in trials["short"]["trace"]
    lines = {line["rung"]: line for line in report(tmp_path)["results"]["test"] if "against" not in line}
    assert lines["fine"]["figures"]["eventhallusion/rank"]["seeds"] == 1
    assert lines["short"]["figures"] == {}
    assert "FAILED: model.short.seed_0" in (tmp_path / "out/report.md").read_text()

    assert main(["ablate", str(recipe)]) == 1  # nobody kills it this time
    again = {trial["rung"]: trial for trial in report(tmp_path)["trials"]}
    assert again["killed"]["status"] == "finished" and again["killed"]["steps"] == 12
    assert [one["status"] for one in again["killed"]["tries"]] == ["failed", "finished"]
    assert again["fine"] == trials["fine"]


def kill_worker_at(sign: Path) -> None:
    """Kill the process that makes this folder, as the system does when memory is short."""
    until = time.monotonic() + 120
    while not sign.exists() and time.monotonic() < until:
        time.sleep(0.01)
    for process in multiprocessing.active_children():
        process.kill()


def test_a_setting_is_chosen_on_dev_and_the_test_is_asked_once(demo: Demo, tmp_path: Path) -> None:
    """On two bases. The loser is reported with its dev figures, and never sees the test."""
    corpus = [str(value) for row in demo.rows for value in row.values()]
    other = build_tiny_video_llava(tmp_path / "other", corpus, seed=1, image_size=IMAGE_SIZE, patch_size=PATCH)
    keys = recipe_keys(demo, tmp_path, rungs=["full"], seeds=[0], choose={"learning_rate": [1e-6, 0.02]})
    keys["bases"] = {"one": {}, "two": {"model_name_or_path": str(other)}}
    keys["dev"] = {"probe": keys["test"]["probe"]}
    keys["primary"] = "probe/irrelevant"
    assert main(["ablate", str(write_recipe(tmp_path, keys))]) == 0
    found = report(tmp_path)
    asked = {path.name for path in (tmp_path / "out/evaluation/test/eventhallusion").iterdir() if path.is_dir()}
    after = {}
    for base in ("one", "two"):
        trials = [trial for trial in found["trials"] if trial["base"] == base]
        dev = [trial["figures"]["dev"]["probe/irrelevant"] for trial in trials]
        best = dev.index(max(dev))
        assert dev[0] != dev[1]
        assert [trial["chosen"] for trial in trials] == [index == best for index in (0, 1)]
        assert ["test" in trial["figures"] for trial in trials] == [index == best for index in (0, 1)]
        assert found["chosen"][f"{base}.full"] == {"learning_rate": [1e-6, 0.02][best]}
        assert {name for name in asked if name.startswith(base)} == {
            f"{base}.base",
            f"{base}.full.choice_{best}.seed_0",
        }
        after[base] = trials[best]["figures"]["test"]["probe/video"]
    lines = {line["base"]: line["figures"] for line in found["results"]["test"] if line["rung"] == "full"}
    assert after["one"] != after["two"]
    (over_all,) = [
        line["figures"]["probe/video"]["value"]
        for line in found["results"]["test"]
        if (line["base"], line["rung"], line.get("against")) == ("all bases", "full", None)
    ]
    assert over_all == pytest.approx((after["one"] + after["two"]) / 2)
    assert set(lines) == {"one", "two", "all bases"}
    assert set(found["reference"]) == {"reference/one", "reference/two"}
