"""Two CPU processes under torchrun, one of which comes to a loss that is not finite: the job ends, and says where."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Demo, run_recipe, tiny_recipe
from launching import torchrun
from safetensors.torch import load_file
from transformers import TrainerCallback

WORKER = """
import sys
sys.path.insert(0, {tests!r})
from launch.test_not_finite import train
train({args!r})
"""


class BadMemory(TrainerCallback):
    """Before step 2 the second rank loses a weight that is not trained."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == 1 and os.environ["RANK"] == "1":
            frozen = next(p for name, p in model.named_parameters() if "down_proj.base_layer" in name)
            frozen.data[0, 0] = float("nan")


def train(args: str) -> None:
    """What each rank runs; why it stops is kept beside the recipe."""
    try:
        run_recipe(json.loads(Path(args).read_text()), BadMemory())
    except FloatingPointError as error:
        Path(args).with_name(f"stopped-{os.environ['RANK']}").write_text(str(error))
        raise


def test_one_rank_ends_the_job_before_anything_broken_is_saved(demo: Demo, tmp_path: Path) -> None:
    """The other rank finds it in its gradients, or is stopped by the launcher; the last checkpoint is whole."""
    recipe = {**tiny_recipe(demo, tmp_path / "out"), "ddp_backend": "gloo", "max_steps": 4, "save_strategy": "steps"}
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe, "save_steps": 1, "disable_shuffling": True}))
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.format(tests=str(Path(__file__).parents[1]), args=str(tmp_path / "recipe.json")))
    started = time.monotonic()
    with pytest.raises(AssertionError):  # its exit code is not 0
        torchrun(worker, 2)
    assert time.monotonic() - started < 120, "the ranks waited for each other"
    said = (tmp_path / "stopped-1").read_text()
    assert said.startswith("Step 2: the loss is not finite")
    # Ranks take turns with batches of two: the second has the seventh and eighth row at step 2.
    shown = [row["id"] for row in demo.rows if f"(id {row['id']}) (loss nan" in said]
    assert shown == [demo.rows[6]["id"], demo.rows[7]["id"]]
    (checkpoint,) = (tmp_path / "out").rglob("adapter_model.safetensors")
    assert checkpoint.parent.name == "checkpoint-1"
    assert all(torch.isfinite(value).all() for value in load_file(checkpoint).values())
