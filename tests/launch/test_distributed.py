"""Two CPU processes (gloo, DDP), told who they are as by torchrun, against one process on the same global batches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import Gradients
from conftest import Demo, run_recipe, tiny_recipe
from launching import forked_ranks
from rounding import NATS, assert_gradients_alike
from transformers import TrainerCallback

WORKER = """
import sys
sys.path.insert(0, {tests!r})
from launch.test_distributed import train_and_save
train_and_save({args!r}, {out!r})
"""


class Logs(TrainerCallback):
    """Everything this rank logs, and what wraps the model."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []
        self.world_size = 0
        self.wrapped = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.logs.append(dict(logs))
        self.world_size = args.world_size

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        import gc

        if state.global_step > 1:
            return
        parallel = torch.nn.parallel.DistributedDataParallel
        self.wrapped = any(issubclass(type(thing), parallel) for thing in gc.get_objects())


def train_and_save(args: str, out: str) -> None:
    """What each rank runs."""
    gradients, logs = Gradients(), Logs()
    run_recipe(json.loads(Path(args).read_text()), gradients, logs)
    seen = {"gradients": gradients.steps, "logs": logs.logs, "world": logs.world_size, "wrapped": logs.wrapped}
    torch.save(seen, f"{out}-{os.environ.get('RANK', 'alone')}.pt")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> dict[str, Any]:
    """4 steps of 4 rows each, some without a grounding: 1 x 4 rows, and 2 processes x 2 rows."""
    folder = tmp_path_factory.mktemp("distributed")
    base = {**tiny_recipe(demo, folder), "lr_scheduler_type": "linear", "max_steps": 4, "seed": 3}
    one = {"per_device_train_batch_size": 4, "output_dir": str(folder / "one")}
    two = {"per_device_train_batch_size": 2, "output_dir": str(folder / "two"), "ddp_backend": "gloo"}
    for name, changes in (("one", one), ("two", two)):
        (folder / f"{name}.json").write_text(json.dumps({**base, **changes}))
    train_and_save(str(folder / "one.json"), str(folder / "seen"))
    worker = folder / "worker.py"
    tests = str(Path(__file__).parents[1])
    worker.write_text(WORKER.format(tests=tests, args=str(folder / "two.json"), out=str(folder / "seen")))
    forked_ranks(worker, 2)
    return {rank: torch.load(folder / f"seen-{rank}.pt", weights_only=False) for rank in ("alone", "0", "1")}


def test_it_really_ran_under_ddp(runs: dict[str, Any]) -> None:
    assert (runs["alone"]["world"], runs["alone"]["wrapped"]) == (1, False)
    for rank in ("0", "1"):
        assert (runs[rank]["world"], runs[rank]["wrapped"]) == (2, True)


def test_gradients_equal_one_process(runs: dict[str, Any]) -> None:
    """DDP averages over ranks: after the backward pass both ranks hold the one process's gradient."""
    for rank in ("0", "1"):
        for one, two in zip(runs["alone"]["gradients"], runs[rank]["gradients"], strict=True):
            assert_gradients_alike(two, one)


def test_metrics_agree_on_all_ranks_and_with_one_process(runs: dict[str, Any]) -> None:
    steps = [[log for log in runs[rank]["logs"] if "loss" in log] for rank in ("alone", "0", "1")]
    assert len(steps[0]) == 4
    for one, first, second in zip(*steps, strict=True):
        ours = {key for key in one if key.startswith(("vista/", "rewards/", "loss"))}
        assert len(ours) == 1 + 4 + 3 + 5 * 4
        for key in ours:
            assert first[key] == pytest.approx(second[key], nan_ok=True), key
            assert first[key] == pytest.approx(one[key], abs=NATS, nan_ok=True), key
