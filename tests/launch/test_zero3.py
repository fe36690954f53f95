"""ZeRO-3 on two CPU processes against one process: rows that show unequal views, parameters spread over both ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Demo
from sharded_runs import Expected, assert_equal_runs, assert_saved_alike, expected, run_workers, spread_recipes

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "vistadpo_videollava_full_z3.yaml"

WORKER = """
import sharded_runs, zero3_worker
zero3_worker.wait_for_every_handle()
zero3_worker.compile_nothing()
sharded_runs.train_all(SPECIFICATION, zero3_worker.Zero3Gradients, zero3_worker.look)
"""


@pytest.fixture(scope="module")
def known(demo: Demo) -> Expected:
    return expected(demo.data, demo.model)


@pytest.fixture(scope="module")
def runs(known: Expected, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The recipe's own DeepSpeed block, for a model of which DeepSpeed would keep every parameter whole otherwise: each
    is small, and its next use less than 1e9 parameters away (for which the whole trace is looked through, every time).
    """
    folder = tmp_path_factory.mktemp("zero3")
    block = yaml.safe_load(RECIPE.read_text())["deepspeed"]
    block["zero_optimization"] |= {"stage3_param_persistence_threshold": 0, "stage3_max_reuse_distance": 0}
    recipes = spread_recipes(known, folder, {"deepspeed": block, "ddp_backend": "gloo"})
    # `use_cpu` would keep transformers from DeepSpeed's own initialization.
    return {"folder": folder, **run_workers(folder, WORKER, recipes, DS_ACCELERATOR="cpu")}


@pytest.mark.parametrize("name", ["filled", "full", "projector", "lora"])
def test_parameters_are_really_spread_over_two_ranks(runs: dict[str, Any], known: Expected, name: str) -> None:
    """Every parameter has an owner, each rank half of it; gathered they are what the checkpoint says."""
    for rank in runs[name]:
        wrapper = rank["wrapper"]
        assert rank["world"] == 2
        assert len(wrapper["spread"]) == wrapper["all"] > 100
        assert all(here == -(-whole // 2) for here, whole in wrapper["spread"].values())
    first, second = (rank["wrapper"]["weights"] for rank in runs[name])
    assert all(first[key].equal(second[key]) and first[key].isfinite().all() for key in first)


@pytest.mark.parametrize(
    ("name", "truth"), [("filled", "full"), ("full", "full"), ("projector", "projector"), ("lora", "lora")]
)
def test_gradients_and_metrics_equal_one_process(runs: dict[str, Any], known: Expected, name: str, truth: str) -> None:
    """`filled` makes a reference cache, `full` trains with the one that a single process made (so hashes agree)."""
    assert_equal_runs(known.runs[truth], runs[name])


def test_a_whole_model_is_saved(runs: dict[str, Any], known: Expected) -> None:
    assert_saved_alike(known.folder / "full-one", runs["folder"] / "full")
