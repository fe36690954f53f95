"""An ablation of the tests' tiny model: its recipe, and what stands in a finished one's reports."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from conftest import Demo, tiny_recipe
from eventhallusion_made import link_videos, write_annotations
from launching import fork_server

from vistadpo_plugin.ablation import worker

NOT_FOR_AN_ABLATION = ("output_dir", "overwrite_output_dir", "do_train")


def recipe_keys(demo: Demo, folder: Path, /, **changes: Any) -> dict[str, Any]:
    """An ablation in `folder`, judged by eight questions and the rows themselves; None removes a key."""
    if not (folder / "asked").exists():
        write_annotations(folder / "asked")
        link_videos(folder / "media", sorted((demo.data / "videos").glob("*.mp4")))
    training = {k: v for k, v in tiny_recipe(demo, folder).items() if k not in NOT_FOR_AN_ABLATION}
    asked = {"annotations": str(folder / "asked"), "videos": str(folder / "media")}
    keys = {
        "training": {**training, "learning_rate": 0.02, "max_steps": 3, "save_strategy": "steps", "save_steps": 1},
        "rungs": ["sft", "dpo", "full"],
        "seeds": [0, 1],
        "test": {"benchmarks": {"eventhallusion": asked}, "probe": {"data": str(demo.data / "rows.jsonl")}},
        "evaluation": {"max_new_tokens": 3, "batch_size": 8},
        "bootstrap": 200,
        "output_dir": str(folder / "out"),
        **changes,
    }
    return {key: value for key, value in keys.items() if value is not None}


def write_recipe(folder: Path, keys: dict[str, Any]) -> Path:
    path = folder / "ablate.yaml"
    path.write_text(yaml.safe_dump(keys, sort_keys=False))
    return path


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "ablation.json").read_text())


def fork_workers() -> None:
    """Workers of this process need not import the host any more. As a user starts it, an ablation spawns its own: the
    command that is killed in test_run.py does."""
    worker._CONTEXT = fork_server()


def children(pid: int) -> list[int]:
    """Of a process: the worker, and what multiprocessing starts beside it."""
    listed = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [other for other in listed if parent_of(other) == pid]


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
