"""The ZeRO-2 recipe on two CPU processes, launched as its head says, against one process without DeepSpeed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, Run, launch_cli
from rounding import NATS, WHOLE_LOSS

from vistadpo_plugin.training.checkpoint_files import Layout, fault

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "vistadpo_videollava_full_z2.yaml"


def overrides(demo: Demo, folder: Path) -> dict[str, Any]:
    """What turns the 7B recipe into a tiny one: 4 rows a step, all complete, 3 steps."""
    return {
        "model_name_or_path": demo.model, "dataset": "demo", "dataset_dir": demo.data, "media_dir": demo.data,
        "max_samples": 8, "cutoff_len": 512, "output_dir": folder, "max_steps": 3, "logging_steps": 1,
        "learning_rate": 1e-4, "warmup_ratio": 0.0, "preprocessing_num_workers": 1, "dataloader_num_workers": 0,
        "use_cpu": "true", "bf16": "false", "plot_loss": "false",
    }  # fmt: skip


def test_recipe_under_two_processes_equals_one(demo: Demo, train: Any, tmp_path: Path) -> None:
    keys = {**overrides(demo, tmp_path / "two"), "gradient_accumulation_steps": 2, "ddp_backend": "gloo"}
    launch = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    done = launch_cli(RECIPE, *(f"{key}={value}" for key, value in keys.items()), **launch)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Process rank: 1, world size: 2" in done.stdout
    assert "ZeRO stage 2 optimizer" in done.stdout
    assert "DeepSpeed Final Optimizer = DeepSpeedZeroOptimizer" in done.stdout
    two = Run(tmp_path / "two")
    checkpoint = two.folder / "checkpoint-3"
    assert fault(checkpoint, Layout("deepspeed")) is None
    (states,) = checkpoint.glob("*/*pp_rank_1*optim_states.pt")
    states.write_bytes(states.read_bytes()[:-1])
    assert f"{states.name} is damaged or was not written to its end" in fault(checkpoint, Layout("deepspeed"))
    (checkpoint / "latest").unlink()
    assert fault(checkpoint, Layout("deepspeed")) == "it has no latest"

    keys = {key: value for key, value in overrides(demo, tmp_path / "one").items() if value not in ("true", "false")}
    one = train(
        **{key: str(value) if isinstance(value, Path) else value for key, value in keys.items()},
        finetuning_type="full", lora_target=None, lora_rank=None, per_device_train_batch_size=4,
        lr_scheduler_type="linear", seed=42,
    )  # fmt: skip
    # The weights of the terms sum to 2.7, and policy and reference are alike.
    assert two.series("loss")[0] == pytest.approx(2.7 * math.log(2), abs=WHOLE_LOSS)
    assert two.series("loss") == pytest.approx(one.series("loss"), abs=WHOLE_LOSS)
    margins = two.series("vista/response_margin")
    assert margins == pytest.approx(one.series("vista/response_margin"), abs=NATS)
    assert two.series("vista/response_rows") == [4, 4, 4]
    # Steps move it far more than it may be off: one left out, or a rate off by 1 %, would show.
    assert abs(margins[2] - margins[1]) > 1000 * NATS
