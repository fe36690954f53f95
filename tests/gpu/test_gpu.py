"""What only GPUs can show, on as many as are here: `make gpu`. Everything else in tests/ runs on a CPU.

NCCL, ZeRO-3 and FSDP2 without the help that they need on a CPU, 4-bit kernels, bf16. The outcome of every check goes to
gpu_report.json in the working directory. The bench, the profile and the main recipe are further parts of `run`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import Demo, run_recipe, tiny_recipe
from evaluation.vllm_environment import NO_VLLM, PYTHON
from evaluation.vllm_spread import within_the_spread
from launching import torchrun
from sharded_runs import assert_equal_runs, expected, run_workers, spread_recipes

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
GPUS = torch.cuda.device_count()
VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(GPUS)))
if GPUS:
    os.environ["CUDA_VISIBLE_DEVICES"] = VISIBLE.split(",")[0]  # this process keeps to one, launched ones get theirs

one_gpu = pytest.mark.skipif(GPUS < 1, reason="no CUDA device")
two_gpus = pytest.mark.skipif(GPUS < 2, reason=f"needs 2 GPUs, {GPUS} here")

# Float32 must mean float32, or gradients differ from the CPU's by what TF32 leaves out.
EXACT = "import torch; torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False\n"
WORKERS = {
    "ddp": "import sharded_runs; sharded_runs.train_all(SPECIFICATION)",
    "z3": "import sharded_runs, zero3_worker as w; sharded_runs.train_all(SPECIFICATION, w.Zero3Gradients, w.look)",
    "fsdp2": "import sharded_runs, fsdp2_worker as w; sharded_runs.train_all(SPECIFICATION, w.Fsdp2Gradients, w.look)",
}


@pytest.fixture(scope="module")
def report() -> Iterator[dict[str, Any]]:
    made: dict[str, Any] = {"gpus": [torch.cuda.get_device_name(number) for number in range(GPUS)]}
    yield made
    Path("gpu_report.json").write_text(json.dumps(made, indent=1) + "\n")


def launcher_keys(launcher: str) -> dict[str, Any]:
    """What the shipped recipe of a launcher says of it, for a model so small that DeepSpeed would not spread it."""
    if launcher == "ddp":
        return {"vista_reference_cache": None}
    file = {"z3": "vistadpo_videollava_full_z3.yaml", "fsdp2": "vistadpo_videollava_fsdp2.yaml"}[launcher]
    recipe = yaml.safe_load((RECIPES / file).read_text())
    if launcher == "fsdp2":
        return {key: recipe[key] for key in ("fsdp", "fsdp_config")}
    recipe["deepspeed"]["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    return {"deepspeed": recipe["deepspeed"]}


@two_gpus
@pytest.mark.parametrize("launcher", ["ddp", "z3", "fsdp2"])
def test_two_gpus_equal_one_cpu_process(launcher: str, demo: Demo, tmp_path: Path, report: dict[str, Any]) -> None:
    """Over NCCL; the CPU's figures are the truth. DDP has no use for a projector that some ranks never run."""
    known = expected(demo.data, demo.model)
    recipes = spread_recipes(known, tmp_path, launcher_keys(launcher))
    if launcher == "ddp":
        recipes = {name: recipe for name, recipe in recipes.items() if name in ("full", "lora")}
    recipes = {n: {k: v for k, v in recipe.items() if v is not None} for n, recipe in recipes.items()}
    runs = run_workers(
        tmp_path, EXACT + WORKERS[launcher], recipes, torchrun, CUDA_VISIBLE_DEVICES=",".join(VISIBLE.split(",")[:2])
    )
    for name, ranks in runs.items():
        assert all(rank["world"] == 2 for rank in ranks)
        if launcher != "ddp":
            assert all(len(rank["wrapper"]["spread"]) == rank["wrapper"]["all"] > 100 for rank in ranks)
        assert_equal_runs(known.runs["full" if name == "filled" else name], ranks, atol=2e-4, share=2e-2, log=2e-3)
    report[launcher] = sorted(runs)


def losses_of(demo: Demo, folder: Path, **changes: Any) -> list[float]:
    """3 steps of 4 complete rows, LoRA."""
    recipe = {
        **tiny_recipe(demo, folder),
        "max_samples": 8,
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        **changes,
    }
    return run_recipe(recipe).series("loss")


def packed_and_separate(demo: Demo, folder: Path, **changes: Any) -> dict[str, list[float]]:
    return {
        "packed": losses_of(demo, folder / "packed", **changes),
        "separate": losses_of(demo, folder / "separate", vista_prefix_sharing=False, **changes),
    }


def assert_start_and_agreement(found: dict[str, list[float]], tolerance: float) -> None:
    """2.7 log 2 at first, whatever the precision: policy and reference are alike."""
    assert found["packed"][0] == pytest.approx(1.8715, abs=2e-3)
    assert found["packed"] == pytest.approx(found["separate"], abs=tolerance)


def test_the_shared_checks_hold_on_a_cpu(demo: Demo, tmp_path: Path) -> None:
    """So that what runs on GPUs is not run there for the first time."""
    assert_start_and_agreement(packed_and_separate(demo, tmp_path), 1e-3)
    for launcher in WORKERS:
        assert launcher_keys(launcher)


@one_gpu
def test_bf16_packed_rows_equal_separate_rows(demo: Demo, tmp_path: Path, report: dict[str, Any]) -> None:
    report["bf16"] = packed_and_separate(demo, tmp_path, use_cpu=False, bf16=True)
    assert_start_and_agreement(report["bf16"], 5e-2)


@one_gpu
def test_4_bits_on_cuda(demo: Demo, tmp_path: Path, report: dict[str, Any]) -> None:
    recipe = yaml.safe_load((RECIPES / "vistadpo_videollava_qlora.yaml").read_text())
    keys = {key: value for key, value in recipe.items() if "quantization" in key}
    report["4 bits"] = packed_and_separate(demo, tmp_path, use_cpu=False, bf16=True, **keys)
    assert_start_and_agreement(report["4 bits"], 5e-2)


@one_gpu
@pytest.mark.skipif(PYTHON is None, reason=NO_VLLM)
def test_vllm_replies_within_the_spread(demo: Demo, tmp_path: Path, report: dict[str, Any]) -> None:
    report["vllm"] = within_the_spread(demo, tmp_path, 200)
