"""`vistadpo ablate` on the demo's world, which it makes itself, and what it says of a recipe that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ablation.made import NOT_FOR_AN_ABLATION, fork_workers, report
from conftest import Demo, tiny_recipe

from vistadpo_plugin.commands.main import main


@pytest.fixture(autouse=True, scope="module")
def _forked() -> None:
    fork_workers()


def on_the_demos_world(demo: Demo, folder: Path) -> dict[str, Any]:
    world = folder / "world"
    training = {k: v for k, v in tiny_recipe(demo, folder).items() if k not in NOT_FOR_AN_ABLATION}
    rows = {"dataset": "train", "dataset_dir": str(world), "media_dir": str(world)}
    return {
        "demo": {"folder": str(world), "train": 4, "test": 2},
        "training": {**training, **rows, "max_steps": 1},
        "rungs": ["full"],
        "seeds": [3],
        "test": {
            "benchmarks": {"shapes": {"annotations": str(world / "test"), "videos": str(world)}},
            "probe": {"data": str(world / "test.jsonl")},
        },
        "evaluation": {"max_new_tokens": 2, "batch_size": 16},
        "bootstrap": 50,
        "output_dir": str(folder / "out"),
    }


def test_the_demos_world_is_made_once(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "ablate.yaml"
    path.write_text(yaml.safe_dump(on_the_demos_world(demo, tmp_path)))
    assert main(["ablate", str(path)]) == 0
    said = capsys.readouterr().out
    assert "run 1 of 1, model.full.seed_3: training ..." in said
    assert "| full | 1 |" in said
    (trial,) = report(tmp_path)["trials"]
    assert trial["figures"]["test"].keys() >= {"shapes/rank", "shapes/total/overall", "probe/video", "probe/log p(y_w)"}
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "world").rglob("*") if file.is_file()}
    assert main(["ablate", str(path)]) == 0  # caches know files by their times
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "world").rglob("*") if file.is_file()} == times
    assert "trained already" in capsys.readouterr().out


def test_what_cannot_be_used(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "ablate.yaml"
    assert main(["ablate", str(path)]) == 2
    assert "cannot read the recipe" in capsys.readouterr().err
    keys = on_the_demos_world(demo, tmp_path)
    path.write_text(yaml.safe_dump({**keys, "demo": {"train": 4}}))
    assert main(["ablate", str(path)]) == 2
    assert "`demo` needs a `folder`" in capsys.readouterr().err


def test_a_primary_figure_that_is_none(demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Said when the base has been asked, before anything is trained."""
    path = tmp_path / "ablate.yaml"
    path.write_text(yaml.safe_dump({**on_the_demos_world(demo, tmp_path), "primary": "shapes/ranks"}))
    assert main(["ablate", str(path)]) == 2
    said = capsys.readouterr()
    assert "model.base has no such figure on test. There are: " in said.err and "shapes/rank," in said.err
    assert "run 1 of" not in said.out
