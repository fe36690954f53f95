"""True ablations of the tiny model: uninterrupted, killed and resumed, with a rung that fails, with a choice on dev."""

from __future__ import annotations

import importlib.metadata
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ablation.made import children, fork_workers, recipe_keys, report, write_recipe
from conftest import Demo
from eventhallusion_made import ANSWERS, IDS

from vistadpo_plugin.commands.main import main

RUNGS, SEEDS = ("sft", "dpo", "full"), (0, 1)
NAMES = {f"model.{rung}.seed_{seed}" for rung in RUNGS for seed in SEEDS}
FILES = ("report.md", "forest.png", "ablation.json")


@pytest.fixture(scope="module")
def finished(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rungs, two seeds, three steps: not interrupted."""
    fork_workers()
    folder = tmp_path_factory.mktemp("ablation")
    assert main(["ablate", str(write_recipe(folder, recipe_keys(demo, folder)))]) == 0
    return folder


def results(folder: Path) -> dict[str, Any]:
    """All that must not depend on when it was made: estimates, and every trial's own figures."""
    found = report(folder)
    trials = {trial["run"]: (trial["status"], trial["steps"], trial["figures"]) for trial in found["trials"]}
    return {"results": found["results"], "bases": found["bases"], "trials": trials}


def same(one: Any, other: Any) -> bool:
    """Equal, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == (pytest.approx(other, abs=1e-4) if isinstance(other, float) else other)


def test_every_run_is_trained_and_judged(finished: Path) -> None:
    found = report(finished)
    assert {trial["run"] for trial in found["trials"]} == NAMES
    for trial in found["trials"]:
        assert (trial["status"], trial["steps"], trial["problems"]) == ("finished", 3, {})
        assert trial["command"].startswith("llamafactory-cli train ")
        assert Path(trial["command"].split()[-1]).is_file()
    assert all((finished / "out" / name).stat().st_size for name in FILES)
    assert found["versions"]["llamafactory"] == importlib.metadata.version("llamafactory")
    assert found["recipe"]["seeds"] == list(SEEDS)


def test_seeds_and_rungs_differ(finished: Path) -> None:
    """The seed moves data order and adapter, the rung the objective: no two runs end alike."""
    ends = {trial["run"]: trial["figures"]["test"]["probe/log p(y_w)"] for trial in report(finished)["trials"]}
    assert len(set(ends.values())) == len(NAMES)


def test_the_table_is_what_the_runs_say(finished: Path) -> None:
    """Means over the two seeds from the replies and margins on disk, put together here."""
    by_rung = {}
    for rung in RUNGS:
        ranks, margins = [], []
        for seed in SEEDS:
            name = f"model.{rung}.seed_{seed}"
            path = finished / "out/evaluation/test/eventhallusion" / name / "replies.jsonl"
            lines = {line["id"]: line["yes_margin"] for line in map(json.loads, path.read_text().splitlines())}
            true = [lines[id_] for id_, answer in zip(IDS, ANSWERS, strict=True) if answer == "Yes."]
            false = [lines[id_] for id_, answer in zip(IDS, ANSWERS, strict=True) if answer == "No."]
            ranks.append(sum((t > f) + (t == f) / 2 for t in true for f in false) / len(true) / len(false) * 100)
            probed = json.loads((finished / f"out/evaluation/test/probe/{name}.json").read_text())["rows"]
            margins.append(sum(row["margins"]["video"] for row in probed) / len(probed))
        by_rung[rung] = (sum(ranks) / 2, sum(margins) / 2)
    lines = report(finished)["results"]["test"]
    for line in lines:
        found = [line["figures"][name]["value"] for name in ("eventhallusion/rank", "probe/video")]
        if line["rung"] in by_rung and "against" not in line:
            assert found == pytest.approx(by_rung[line["rung"]])
        elif line.get("against") in by_rung:
            expected = [a - b for a, b in zip(by_rung[line["rung"]], by_rung[line["against"]], strict=True)]
            assert found == pytest.approx(expected)
    compared = {(line["rung"], line["against"]) for line in lines if "against" in line}
    assert compared == {("sft", "base"), ("dpo", "base"), ("dpo", "sft"), ("full", "sft"), ("full", "dpo")}


def test_the_reference_speaks_once_for_all(finished: Path) -> None:
    """`full` asks it everything: nothing is left for `dpo`, nor under another seed but for other unrelated videos."""
    scored = {trial["run"]: trial["reference_answers"] for trial in report(finished)["trials"]}
    rows = [
        json.loads(line) for line in Path(report(finished)["recipe"]["test"]["probe"]["data"]).read_text().splitlines()
    ]
    # An answer each on: the full video (two or three), another's video, event and rest, keyframe (two) and masked.
    first = sum(
        2 + ("rejected_irrelevant" in row) + 1 + 2 * ("event" in row) + 2 * ("keyframe" in row) + ("box" in row)
        for row in rows
    )
    assert scored["model.full.seed_0"] == first
    assert scored["model.dpo.seed_0"] == scored["model.dpo.seed_1"] == scored["model.sft.seed_0"] == 0
    assert 0 < scored["model.full.seed_1"] <= len(rows)  # y_w on the video of another mate


def test_a_finished_ablation_is_not_done_again(finished: Path, capsys: pytest.CaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "out").rglob("*.safetensors")}
    known = results(finished)
    started = time.monotonic()
    assert main(["ablate", str(finished / "ablate.yaml")]) == 0
    assert time.monotonic() - started < 5, "the host was imported"
    assert {path: path.stat().st_mtime_ns for path in (finished / "out").rglob("*.safetensors")} == before
    assert results(finished) == known
    assert "run 6 of 6, model.sft.seed_1: trained already." in capsys.readouterr().out


def test_runs_made_in_another_way_are_refused(finished: Path, capsys: pytest.CaptureFixture) -> None:
    keys = yaml.safe_load((finished / "ablate.yaml").read_text())
    keys["training"]["learning_rate"] = 0.01
    (finished / "other.yaml").write_text(yaml.safe_dump(keys))
    assert main(["ablate", str(finished / "other.yaml")]) == 2
    said = capsys.readouterr().err
    assert "learning_rate: 0.02 there, 0.01 here" in said and "the weights in " in said and "model/full/seed_0" in said


def wait_for(found: Path, process: subprocess.Popen, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not found.exists():
        assert process.poll() is None and time.monotonic() < until, f"{found} did not come"
        time.sleep(0.02)


def test_killed_and_resumed_makes_the_same_table(demo: Demo, finished: Path, tmp_path: Path) -> None:
    """Killed for good inside the second run, then between the fourth and the fifth; goes on from a checkpoint."""
    recipe = write_recipe(tmp_path, recipe_keys(demo, tmp_path))
    command = [sys.executable, "-c", "import sys; from vistadpo_plugin.commands.main import main; sys.exit(main())"]
    order = [trial["run"].replace(".", "/") for trial in report(finished)["trials"]]
    for stop in (f"{order[1]}/model/checkpoint-1/trainer_state.json", f"{order[3]}/run.json"):
        with (tmp_path / "said.txt").open("a") as said:
            process = subprocess.Popen([*command, "ablate", str(recipe)], stdout=said, stderr=said)
        wait_for(tmp_path / "out/runs" / stop, process)
        worker = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert worker
        until = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in worker):
            assert time.monotonic() < until, "the worker goes on without its parent"
            time.sleep(0.05)
    done = {path.parent for path in (tmp_path / "out/runs").rglob("run.json")}
    assert 4 <= len(done) < len(NAMES)
    assert main(["ablate", str(recipe)]) == 0
    assert same(results(tmp_path), results(finished))
    resumed = {trial["run"]: trial["resumed_from"] for trial in report(tmp_path)["trials"]}
    assert resumed[order[1].replace("/", ".")], "started anew although there was a checkpoint"
