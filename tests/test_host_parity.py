"""Plain `stage: dpo` and `stage: sft` are the same to the last digit with the plugin installed or not.

Two interpreters train the same four recipes from the same files, one with the start-up hook and one without. Everything
that a run logs, and the weights it ends with, are compared exactly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo
from tiny_qwen import PIXELS, build_tiny_llama, build_tiny_qwen

STEPS = 3
RUNS = ("dpo_video", "sft_video", "dpo_text", "sft_text")
DPO_RUNS = tuple(name for name in RUNS if name.startswith("dpo"))
CLOCK = ("runtime", "per_second")

# Trains what the first argument lists and writes log histories (floats with repr, so exactly) to the second.
SCRIPT = """
import hashlib, json, pathlib, sys

from llamafactory.train.tuner import run_exp

recipes, report = json.loads(pathlib.Path(sys.argv[1]).read_text()), {"runs": {}}
for name, recipe in recipes.items():
    run_exp(recipe)
    out = pathlib.Path(recipe["output_dir"])
    report["runs"][name] = {
        "log": [
            {key: repr(value) for key, value in entry.items()}
            for entry in json.loads((out / "trainer_state.json").read_text())["log_history"]
        ],
        "weights": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.safetensors"))
        },
    }
report["plugin"] = sorted(name for name in sys.modules if name.startswith("vistadpo_plugin"))
report["wrapped"] = [
    hasattr(sys.modules["llamafactory.hparams.parser"]._parse_args, "__wrapped__"),
    hasattr(run_exp.__globals__["run_dpo"], "__wrapped__"),
]
pathlib.Path(sys.argv[2]).write_text(json.dumps(report))
"""


def write_data(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Preference and supervised rows, each with and without video, in the host's own alpaca format."""
    folder.mkdir()
    entries: dict[str, Any] = {}
    for kind in ("dpo", "sft"):
        for media in ("video", "text"):
            made = []
            for row in rows:
                out = {"instruction": row["prompt"]}
                if media == "video":
                    out = {"instruction": "<video>" + row["prompt"], "videos": [row["video"]]}
                answers = {"output": row["chosen"]}
                if kind == "dpo":
                    answers = {"chosen": row["chosen"], "rejected": row["rejected"]}
                made.append({**out, **answers})
            name = f"{kind}_{media}"
            (folder / f"{name}.json").write_text(json.dumps(made))
            columns = {"prompt": "instruction", **{key: key for key in answers if key != "output"}}
            columns |= {"response": "output"} if kind == "sft" else {}
            columns |= {"videos": "videos"} if media == "video" else {}
            entries[name] = {"file_name": f"{name}.json", "ranking": kind == "dpo", "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps(entries))


def make_recipe(name: str, models: Path, data: Path, media: Path, out: Path) -> dict[str, Any]:
    kind, content = name.split("_")
    recipe = {
        "stage": kind,
        "do_train": True,
        "do_eval": True,
        "eval_strategy": "steps",
        "eval_steps": STEPS,
        "val_size": 2,
        "dataset": name,
        "dataset_dir": str(data),
        "output_dir": str(out / name),
        "overwrite_cache": True,
        "overwrite_output_dir": True,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_steps": STEPS,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
    }
    if content == "video":
        recipe |= {
            "model_name_or_path": str(models / "qwen"),
            "template": "qwen2_vl",
            "media_dir": str(media),
            "video_maxlen": 4,
            "video_max_pixels": 4 * PIXELS,
            "video_min_pixels": PIXELS,
        }
    else:
        recipe |= {"model_name_or_path": str(models / "llama"), "template": "default"}
    if name == "sft_text":
        recipe |= {"finetuning_type": "full"}
    else:
        # Dropout makes the losses depend on every random number drawn before.
        recipe |= {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 4, "lora_dropout": 0.1}
    return recipe


@pytest.fixture(scope="module")
def reports(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the runs logged, "with" and "without" the plugin."""
    folder = tmp_path_factory.mktemp("parity")
    rows = demo.rows[:8]
    corpus = [row[key] for row in rows for key in ("prompt", "chosen", "rejected")]
    build_tiny_qwen(folder / "models" / "qwen", corpus)
    build_tiny_llama(folder / "models" / "llama", corpus)
    write_data(folder / "data", rows)
    script = folder / "train.py"
    script.write_text(SCRIPT)
    made = {}
    for name, switch in (("without", "0"), ("with", "1")):
        recipes = {run: make_recipe(run, folder / "models", folder / "data", demo.data, folder / name) for run in RUNS}
        (folder / f"{name}.json").write_text(json.dumps(recipes))
        report = folder / f"{name}_report.json"
        subprocess.run(
            [sys.executable, script, folder / f"{name}.json", report],
            env={**os.environ, "VISTADPO_AUTOLOAD": switch, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            cwd=folder,
            check=True,
            timeout=300,
        )
        made[name] = json.loads(report.read_text())
    return made


def test_plugin_was_active_in_one_only(reports: dict[str, dict[str, Any]]) -> None:
    assert "vistadpo_plugin.host" in reports["with"]["plugin"]
    assert reports["with"]["wrapped"] == [True, True]
    started = ["vistadpo_plugin", "vistadpo_plugin.autoload", "vistadpo_plugin.watcher"]
    assert reports["without"]["plugin"] == started
    assert reports["without"]["wrapped"] == [False, False]


@pytest.mark.parametrize("run", RUNS)
def test_log_is_the_same_to_the_last_digit(reports: dict[str, dict[str, Any]], run: str) -> None:
    logs = {
        name: [
            {key: value for key, value in entry.items() if not key.endswith(CLOCK)}
            for entry in report["runs"][run]["log"]
        ]
        for name, report in reports.items()
    }
    assert logs["with"] == logs["without"]
    losses = [entry["loss"] for entry in logs["with"] if "loss" in entry]
    assert len(losses) == len(set(losses)) == STEPS  # a constant would be the same whatever the plugin does
    assert any("eval_loss" in entry for entry in logs["with"])


@pytest.mark.parametrize("run", RUNS)
def test_weights_are_the_same_to_the_last_bit(reports: dict[str, dict[str, Any]], run: str) -> None:
    weights = {name: report["runs"][run]["weights"] for name, report in reports.items()}
    assert weights["with"] and weights["with"] == weights["without"]


@pytest.mark.parametrize("run", DPO_RUNS)
def test_plain_dpo_logs_the_hosts_keys_only(reports: dict[str, dict[str, Any]], run: str) -> None:
    keys = {key for entry in reports["with"]["runs"][run]["log"] for key in entry}
    assert "rewards/margins" in keys
    assert not any(key.startswith(("vista/", "eval_vista/")) for key in keys)
