"""Two CPU processes whose parameters are spread, against one process: rows that differ in their views, and worker code.

A worker trains one recipe after another (the imports are most of its time) and keeps of each the whole gradients before
every optimizer step, what the rank logged, and facts about its wrapper.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import Gradients
from conftest import Demo, run_recipe, tiny_recipe, write_rows
from launch.test_distributed import Logs
from launching import forked_ranks
from rounding import GRADIENT, NATS, SHARE, assert_gradients_alike, assert_moved_alike
from transformers import AutoModelForImageTextToText, TrainerCallback

GROUNDING = ("event", "keyframe", "box", "rejected_irrelevant")


FULL = {"finetuning_type": "full", "lora_target": None, "lora_rank": None}


def uneven_recipe(demo: Demo, folder: Path) -> dict[str, Any]:
    """3 steps of 4 rows in file order, 2 a rank: complete ones against one without a grounding and one without boxes;
    then two videos against text alone, where the rank shows the host's white picture through the other tower."""
    rows = [dict(row) for row in demo.rows[:6]]
    for row in rows:
        row["video"] = str(demo.data / row["video"])
    for name in GROUNDING:
        rows[3].pop(name, None)
    for name in ("keyframe", "box"):
        rows[2].pop(name, None)
    write_rows(folder / "rows", rows)
    text = [{"instruction": f"Is {it} wet?", "input": "", "chosen": "Yes, it is.", "rejected": "No."} for it in "ab"]
    (folder / "rows" / "text.json").write_text(json.dumps(text))
    plain = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
    info = {
        "rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"},
        "text": {"file_name": "text.json", "ranking": True, "columns": plain},
    }
    (folder / "rows" / "dataset_info.json").write_text(json.dumps(info))
    recipe = tiny_recipe(demo, folder)
    del recipe["use_cpu"]
    return {
        **recipe, "dataset": "rows,text", "dataset_dir": str(folder / "rows"), "disable_shuffling": True,
        "max_steps": 3, "max_grad_norm": 0.0, "learning_rate": 1e-3, "lr_scheduler_type": "linear", "seed": 3,
    }  # fmt: skip


class Wrapper(TrainerCallback):
    """`look(model)` says what wraps the model, once it is wrapped."""

    def __init__(self, look: Callable[[Any], Any]):
        self.look = look
        self.seen: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.seen = self.look(model)


def train_all(
    specification: str, gradients: Callable[[], Gradients] = Gradients, look: Callable[[Any], Any] = type
) -> None:
    """What each rank runs: `specification` is a JSON file of [name, recipe] pairs; results go beside it."""
    path = Path(specification)
    for name, recipe in json.loads(path.read_text()):
        kept, logs, wrapper = gradients(), Logs(), Wrapper(look)
        run_recipe(recipe, kept, logs, wrapper)
        seen = {"gradients": kept.steps, "logs": logs.logs, "world": logs.world_size, "wrapper": wrapper.seen}
        torch.save(seen, path.with_name(f"{name}-{os.environ.get('RANK', 'alone')}.pt"))


def run_workers(
    folder: Path,
    code: str,
    recipes: dict[str, dict[str, Any]],
    launch: Callable[..., None] = forked_ranks,
    **environment: str,
) -> dict[str, Any]:
    """Two ranks run `code` (which calls `train_all(SPECIFICATION)`); returns what ranks 0 and 1 saw, by recipe."""
    specification = folder / "recipes.json"
    specification.write_text(json.dumps(list(recipes.items())))
    script = folder / "worker.py"
    head = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nSPECIFICATION = {str(specification)!r}\n"
    # The group outlives a recipe: its successor could not form one again at the same place.
    keep = "import torch.distributed as dist\ndist.destroy_process_group = lambda *a, **k: None\n"
    script.write_text(head + keep + code)
    launch(script, 2, timeout=580, **environment)
    return {name: [torch.load(folder / f"{name}-{rank}.pt", weights_only=False) for rank in (0, 1)] for name in recipes}


def one_process(folder: Path, name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """The same steps without a launcher: 4 rows at a time."""
    changes = {"per_device_train_batch_size": 4, "use_cpu": True, "output_dir": str(folder / f"{name}-one")}
    specification = folder / "one.json"
    specification.write_text(json.dumps([[name, {**recipe, **changes}]]))
    train_all(str(specification))
    return torch.load(folder / f"{name}-alone.pt", weights_only=False)


@dataclass
class Expected:
    """Recipes by name, and what one process makes of them; it filled the cache of `full`."""

    recipes: dict[str, dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    folder: Path


@functools.cache
def expected(demo_data: Path, demo_model: Path) -> Expected:
    """Full tuning with a cache that is to be made and with one that is known; a trained projector, so that towers have
    to run once a forward, with every answer a row of its own and a live reference; LoRA that has moved, likewise."""
    folder = Path(tempfile.mkdtemp(dir=demo_data.parent))
    base = uneven_recipe(Demo(demo_data, demo_model), folder)
    warm = {"max_steps": 2, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}
    one_process(folder, "adapter", {**base, **warm})
    full = {key: value for key, value in {**base, **FULL}.items() if value is not None}
    recipes = {
        "full": {**full, "vista_reference_cache": str(folder / "cache")},
        "projector": {**full, "freeze_multi_modal_projector": False, "vista_prefix_sharing": False},
        "lora": {**base, "vista_prefix_sharing": False, "adapter_name_or_path": str(folder / "adapter-one")},
    }
    runs = {name: one_process(folder, name, recipe) for name, recipe in recipes.items()}
    return Expected(recipes, runs, folder)


def spread_recipes(known: Expected, folder: Path, changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The recipes of `expected` for two ranks; `filled` is `full` with a cache that the ranks make."""
    recipes = {"filled": {**known.recipes["full"], "vista_reference_cache": str(folder / "cache")}, **known.recipes}
    return {name: {**recipe, **changes, "output_dir": str(folder / name)} for name, recipe in recipes.items()}


def assert_saved_alike(one: Path, two: Path) -> None:
    """Both folders hold a whole model (by whichever of its names), moved by the same 3 steps of Adam: at the rate 1e-3,
    2/3 and 1/3 of it, as far as 2 whole steps."""
    (first, lacks), (second, lacks_too) = (
        AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True) for folder in (one, two)
    )
    assert not lacks["missing_keys"] and not lacks_too["missing_keys"] and not lacks_too["unexpected_keys"]
    weights = [{name: parameter.detach() for name, parameter in model.named_parameters()} for model in (first, second)]
    assert_moved_alike(*weights, learning_rate=1e-3, steps=2)


def assert_equal_runs(
    one: dict[str, Any],
    ranks: list[dict[str, Any]],
    atol: float = GRADIENT,
    share: float = SHARE,
    log: float = 2 * NATS,
) -> None:
    """Gradients (all ranks hold the whole ones) to `atol` or that `share` of the largest entry, all that is logged to
    `log`: the sums of a KL have twice the tokens of a margin's answers. Step by step."""
    for two in ranks:
        assert len(one["gradients"]) == len(two["gradients"]) == 3
        for expected, got in zip(one["gradients"], two["gradients"], strict=True):
            assert_gradients_alike({name: value.cpu() for name, value in got.items()}, expected, atol, share)
            assert max(gradient.abs().max() for gradient in got.values()) > 1e-3
        for step, (expected, got) in enumerate(zip(_steps(one), _steps(two), strict=True)):
            ours = [key for key in expected if key.startswith(("vista/", "rewards/", "loss"))]
            assert len(ours) == 1 + 4 + 3 + 5 * 4
            for key in ours:
                if step == 0 and "accurac" in key:
                    continue  # the sign of a margin that is 0 but for rounding
                assert got[key] == pytest.approx(expected[key], abs=log, nan_ok=True), key


def _steps(run: dict[str, Any]) -> list[dict[str, float]]:
    return [log for log in run["logs"] if "loss" in log]
