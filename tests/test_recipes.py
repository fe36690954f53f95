"""Every recipe that ships is parsed, to train by the host's own parser, to evaluate by ours, and says what it needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[1] / "recipes"
EVALUATIONS = sorted(FOLDER.glob("evaluate_*.yaml"))
RECIPES = sorted(set(FOLDER.glob("*.yaml")) - set(EVALUATIONS))


def parse(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """(model, data, training, fine-tuning, generating) arguments, as the command line with `use_cpu=true` has them.

    bf16 needs `use_cpu` where there is no GPU. DeepSpeed wants a launcher around it when it is parsed, so its part is
    held against the other arguments here.
    """
    from llamafactory.hparams import get_train_args, read_args

    monkeypatch.setattr("sys.argv", ["train", str(path), "use_cpu=true"])
    args = read_args()
    deepspeed = args.pop("deepspeed", None)
    parsed = get_train_args(args)
    if deepspeed is not None:
        from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

        config = HfTrainerDeepSpeedConfig(deepspeed)
        config.trainer_config_process(parsed[2])
        assert config.is_zero2()
    return parsed


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, training, finetuning, _ = parse(path, monkeypatch)
    assert finetuning.use_vistadpo
    assert finetuning.stage == "dpo"
    info = json.loads((FOLDER / "dataset_info.json").read_text())
    for name in data.dataset:
        assert info[name]["formatting"] == "vistadpo", name
    assert data.cutoff_len > model.video_maxlen * (17 if "demo" in path.stem else 257)
    assert str(training.output_dir) == f"saves/{path.stem}"


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: path.stem)
def test_evaluation_recipe_parses(path: Path) -> None:
    from vistadpo_plugin.evaluation.recipe import read_recipe

    recipe = read_recipe(path)
    assert str(recipe.output_dir) == f"saves/{path.stem}"
    for keys in recipe.models.values():
        assert keys["video_maxlen"] == 8
        adapter = keys.get("adapter_name_or_path")
        if adapter is not None:  # what another recipe saves, trained on the same model and frames
            trained = yaml.safe_load((FOLDER / Path(adapter).with_suffix(".yaml").name).read_text())
            assert adapter == trained["output_dir"]
            for key in ("model_name_or_path", "template", "video_maxlen"):
                assert keys[key] == trained[key]


@pytest.mark.parametrize("path", [*RECIPES, *EVALUATIONS], ids=lambda path: path.stem)
def test_head_says_command_hardware_memory_and_time(path: Path) -> None:
    head = path.read_text().split("\n\n")[0]
    for field in ("command", "hardware", "memory", "time"):
        assert re.search(rf"^#   {field}: +\S", head, re.MULTILINE), field


@pytest.mark.parametrize("name", ["vistadpo_videollava", "vistadpo_videollava_full_z2"])
def test_papers_hyper_parameters(name: str) -> None:
    """Section 5 and the released script: beta 0.1, weights 1/1/0.4/0.2/0.1, lr 5e-7, 3 epochs, linear, warm-up 0.1."""
    recipe = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    weights = [recipe[f"vista_{term}_weight"] for term in ("response", "video", "clip", "object", "token")]
    assert weights == [1.0, 1.0, 0.4, 0.2, 0.1]
    assert (recipe["pref_beta"], recipe["learning_rate"], recipe["num_train_epochs"]) == (0.1, 5e-7, 3.0)
    assert (recipe["lr_scheduler_type"], recipe["warmup_ratio"], recipe["weight_decay"]) == ("linear", 0.1, 0.0)
    assert recipe["video_maxlen"] == 8
    gpus = {"vistadpo_videollava": 1, "vistadpo_videollava_full_z2": 4}[name]
    rows = gpus * recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    assert rows == {"vistadpo_videollava": 8, "vistadpo_videollava_full_z2": 16}[name]
    if name == "vistadpo_videollava":
        assert (recipe["lora_rank"], recipe["lora_alpha"]) == (64, 16)
