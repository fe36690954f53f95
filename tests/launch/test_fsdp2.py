"""FSDP2 on two CPU processes against one process: rows that show unequal views, parameters spread over both ranks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import Demo
from sharded_runs import Expected, assert_equal_runs, assert_saved_alike, expected, run_workers, spread_recipes

from vistadpo_plugin.scoring.sharded import refuse_fsdp1
from vistadpo_plugin.training.checkpoint_files import Layout, fault

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "vistadpo_videollava_fsdp2.yaml"

WORKER = """
import fsdp2_worker, sharded_runs
fsdp2_worker.shard_on_cpu()
sharded_runs.train_all(SPECIFICATION, fsdp2_worker.Fsdp2Gradients, fsdp2_worker.look)
"""


@pytest.fixture(scope="module")
def known(demo: Demo) -> Expected:
    return expected(demo.data, demo.model)


@pytest.fixture(scope="module")
def runs(known: Expected, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("fsdp2")
    recipe = yaml.safe_load(RECIPE.read_text())
    changes = {"fsdp": recipe["fsdp"], "fsdp_config": recipe["fsdp_config"], "ddp_backend": "gloo", "use_cpu": True}
    recipes = spread_recipes(known, folder, changes)
    recipes["lora"] |= {"save_strategy": "steps", "save_steps": 3}
    recipes["bf16"] = {**recipes["projector"], "bf16": True, "max_steps": 1, "output_dir": str(folder / "bf16")}
    return {"folder": folder, **run_workers(folder, WORKER, recipes)}


@pytest.mark.parametrize("name", ["filled", "full", "projector", "lora"])
def test_parameters_are_really_spread_over_two_ranks(runs: dict[str, Any], name: str) -> None:
    """Every parameter is a DTensor of which the two ranks hold all together; layers are units of their own."""
    shards = [rank["wrapper"] for rank in runs[name]]
    assert [rank["world"] for rank in runs[name]] == [2, 2]
    for wrapper in shards:
        assert len(wrapper["spread"]) == wrapper["all"] > 100
        assert {"FSDPLlamaDecoderLayer", "FSDPCLIPEncoderLayer", wrapper["class"]} == set(wrapper["wrapped"])
    for key, (here, whole) in shards[0]["spread"].items():
        assert here + shards[1]["spread"][key][0] == whole, key


@pytest.mark.parametrize(
    ("name", "truth"), [("filled", "full"), ("full", "full"), ("projector", "projector"), ("lora", "lora")]
)
def test_gradients_and_metrics_equal_one_process(runs: dict[str, Any], known: Expected, name: str, truth: str) -> None:
    """`filled` makes a reference cache, `full` trains with the one that a single process made (so hashes agree)."""
    assert_equal_runs(known.runs[truth], runs[name])


def test_log_probs_stay_float32_in_bf16(runs: dict[str, Any], known: Expected) -> None:
    """accelerate would have FSDP2 cast what the model returns: rewards would have 8 bits. Policy is reference here."""
    first, exact = (next(log for log in run["logs"] if "loss" in log) for run in (runs["bf16"][0], known.runs["full"]))
    assert abs(first["loss"] - exact["loss"]) < 1e-3
    assert abs(first["rewards/margins"]) < 1e-6


def test_a_whole_model_is_saved(runs: dict[str, Any], known: Expected) -> None:
    """The Trainer alone writes none: FSDP2 keeps its checkpoints in shards."""
    assert_saved_alike(known.folder / "full-one", runs["folder"] / "full")


def test_a_checkpoint_is_known_to_be_whole(runs: dict[str, Any]) -> None:
    """And one whose shards end early is known to be broken."""
    checkpoint = runs["folder"] / "lora" / "checkpoint-3"
    assert fault(checkpoint, Layout("fsdp")) is None
    for shard in (checkpoint / "pytorch_model_fsdp_0").glob("*.distcp"):
        shard.write_bytes(shard.read_bytes()[:-1])
    assert "which is missing or too short" in fault(checkpoint, Layout("fsdp"))


def test_the_first_version_is_refused() -> None:
    with pytest.raises(ValueError, match="FSDP2 only. Set `fsdp_config: {version: 2"):
        refuse_fsdp1(SimpleNamespace(fsdp=["full_shard"], fsdp_config={}))
    refuse_fsdp1(SimpleNamespace(fsdp=["full_shard"], fsdp_config={"version": 2}))
