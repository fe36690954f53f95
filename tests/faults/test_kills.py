"""Runs killed at any moment, with SIGKILL: the same command goes on, and its result is that of a run left alone."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Demo, Run, tiny_recipe
from faults.children import counting, start, until
from safetensors.torch import load_file

from vistadpo_plugin.reference.cache import Damaged, ReferenceCache
from vistadpo_plugin.training.checkpoint_files import Layout, fault

STEPS = 5


def recipe(demo: Demo, folder: Path, **changes: Any) -> dict[str, Any]:
    """Every step is saved, the last two saves stay. Dropout in the adapter: a resume needs the random numbers too."""
    saves = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2, "overwrite_output_dir": False}
    args = {**tiny_recipe(demo, folder), **saves, "max_steps": STEPS, "lora_dropout": 0.1, "disable_tqdm": True}
    return {**args, **changes}


@pytest.fixture(scope="module")
def alone(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, float]:
    """A run that nobody killed, and its seconds."""
    folder = tmp_path_factory.mktemp("alone")
    child = start(recipe(demo, folder / "out"), folder / "log")
    assert child.wait() == 0, child.said[-3000:]
    return Run(folder / "out"), time.monotonic() - child.started


def is_same(run: Run, expected: Run) -> bool:
    """Final weights and all losses to the last bit."""
    one, other = (load_file(each.folder / "adapter_model.safetensors") for each in (run, expected))
    weights = one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
    return weights and run.series("loss") == expected.series("loss")


def test_killed_at_random_moments(demo: Demo, alone: tuple[Run, float], tmp_path: Path, capsys: Any) -> None:
    """From before the model is loaded to the last save; one run in four is killed a second time."""
    expected, seconds = alone
    rng = random.Random(0)
    with counting("runs killed at random moments, then run again", capsys) as count:
        for trial in range(10):
            folder = tmp_path / str(trial)
            args = recipe(demo, folder / "out")
            folder.mkdir()
            for number in range(2 if trial % 4 == 0 else 1):
                child = start(args, folder / f"log-{number}")
                time.sleep(rng.uniform(0, seconds))
                child.kill()
            child = start(args, folder / "log")
            count.add(child.wait() == 0 and is_same(Run(folder / "out"), expected))


def test_killed_inside_a_save(demo: Demo, alone: tuple[Run, float], tmp_path: Path, capsys: Any) -> None:
    """Within some milliseconds of the appearance of a checkpoint's folder."""
    expected, _ = alone
    rng = random.Random(1)
    half_written = 0
    with counting("runs killed inside a save, then run again", capsys) as count:
        for trial in range(14):
            folder = tmp_path / str(trial)
            folder.mkdir()
            args = recipe(demo, folder / "out")
            checkpoint = folder / "out" / f"checkpoint-{rng.randrange(1, STEPS + 1)}"
            child = start(args, folder / "log-killed")
            assert until(checkpoint.is_dir, child), child.said[-3000:]
            time.sleep(rng.uniform(0, 0.02))
            child.kill()
            is_broken = fault(checkpoint, Layout("adapter")) is not None
            half_written += is_broken
            child = start(args, folder / "log")
            ended = child.wait() == 0 and is_same(Run(folder / "out"), expected)
            is_said = f"{checkpoint} is not a whole checkpoint and is passed over" in child.said
            count.add(ended and is_said == is_broken)
    with capsys.disabled():
        print(f"  of which {half_written} left a checkpoint half-written")
    assert half_written >= 5


def test_killed_while_the_reference_cache_is_filled(
    demo: Demo, tmp_path: Path, alone: tuple[Run, float], capsys: Any
) -> None:
    """What is in the folder is whole, and the next run computes the rest."""
    rng = random.Random(2)
    filled: list[int] = []
    with counting("runs killed while they fill the reference cache, then run again", capsys) as count:
        for trial in range(8):
            folder = tmp_path / str(trial)
            folder.mkdir()
            cache = folder / "cache"
            args = recipe(demo, folder / "out", vista_reference_cache=str(cache), save_strategy="no")
            child = start(args, folder / "log-killed")
            assert until(lambda cache=cache: any(cache.glob("*/*.safetensors")), child), child.said[-3000:]
            time.sleep(rng.uniform(0, 0.5))
            child.kill()
            is_whole = all(_is_whole(cache, path) for path in cache.rglob("*.safetensors"))
            filled.append(len(list(cache.rglob("*.safetensors"))))
            child = start(args, folder / "log")
            ended = child.wait() == 0
            losses = Run(folder / "out").series("loss") if ended else []
            expected = alone[0].series("loss")[:1]  # mates are drawn once with a cache, every epoch without
            count.add(
                is_whole and "damaged files" not in child.said and losses[:1] == pytest.approx(expected, abs=1e-5)
            )
    whole = len(list(cache.rglob("*.safetensors")))
    with capsys.disabled():
        print(f"  which left {min(filled)} to {max(filled)} of {whole} files")
    assert sum(number < whole for number in filled) >= 3, "kills came when the cache was full"


def _is_whole(cache: Path, path: Path) -> bool:
    opened = ReferenceCache(str(cache), json.loads((cache / "manifest.json").read_text())["identity"])
    try:
        opened._load(path.stem)
    except Damaged:
        return False
    return True
