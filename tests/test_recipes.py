"""Every recipe that ships is parsed, to train by the host's own parser, to evaluate by ours, and says what it needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vistadpo_plugin.models import families, family_of
from vistadpo_plugin.models.family import Family

FOLDER = Path(__file__).resolve().parents[1] / "recipes"
EVERY = sorted(FOLDER.glob("*.yaml"))
EVALUATIONS = [path for path in EVERY if path.stem.startswith("evaluate_")]
INFERENCE = [path for path in EVERY if path.stem.startswith(("export_", "chat_"))]
TRAINING = [path for path in EVERY if path.stem.startswith("vistadpo_")]
ABLATIONS = [path for path in EVERY if path.stem.startswith("ablate_")]
PAPER = [path for path in TRAINING if path.stem != "vistadpo_demo"]


def ids(path: Path) -> str:
    return path.stem


def test_every_recipe_is_of_a_known_kind() -> None:
    assert sorted([*ABLATIONS, *EVALUATIONS, *INFERENCE, *TRAINING]) == EVERY


def parse(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """(model, data, training, fine-tuning, generating) arguments, as the command line with `use_cpu=true` has them.

    bf16 needs `use_cpu` where there is no GPU. DeepSpeed and FSDP want a launcher around them when they are parsed, so
    their part is held against the other arguments here.
    """
    from llamafactory.hparams import get_train_args, read_args

    monkeypatch.setattr("sys.argv", ["train", str(path), "use_cpu=true"])
    args = read_args()
    deepspeed = args.pop("deepspeed", None)
    sharded = {key: args.pop(key) for key in ("fsdp", "fsdp_config") if key in args}
    parsed = get_train_args(args)
    if deepspeed is not None:
        from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

        config = HfTrainerDeepSpeedConfig(deepspeed)
        config.trainer_config_process(parsed[2])
        assert path.stem.endswith("_z3" if config.is_zero3() else "_z2")
    assert bool(sharded) == path.stem.endswith("_fsdp2")
    return parsed


@pytest.mark.parametrize("path", TRAINING, ids=ids)
def test_recipe_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, training, finetuning, _ = parse(path, monkeypatch)
    assert finetuning.use_vistadpo
    assert finetuning.stage == "dpo"
    info = json.loads((FOLDER / "dataset_info.json").read_text())
    for name in data.dataset:
        assert info[name]["formatting"] == "vistadpo", name
    tokens = 17 if path in set(TRAINING) - set(PAPER) else family_of(data.template).tokens_a_frame
    assert data.cutoff_len > model.video_maxlen * tokens
    assert str(training.output_dir) == f"saves/{path.stem}"


@pytest.mark.parametrize("path", INFERENCE, ids=ids)
def test_recipe_of_a_trained_model_parses(path: Path) -> None:
    """The adapter is what another recipe saves, on the same model and frames."""
    from llamafactory.hparams import get_infer_args

    keys = yaml.safe_load(path.read_text())
    get_infer_args(dict(keys))
    trained = yaml.safe_load((FOLDER / Path(keys["adapter_name_or_path"]).with_suffix(".yaml").name).read_text())
    assert keys["adapter_name_or_path"] == trained["output_dir"]
    for key in ("model_name_or_path", "template"):
        assert keys[key] == trained[key]
    if path.stem.startswith("chat_"):
        assert keys["video_maxlen"] == trained["video_maxlen"]


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_every_family_has_its_recipe(family: Family) -> None:
    recipe = yaml.safe_load((FOLDER / f"{family.recipe}.yaml").read_text())
    assert recipe["template"] == family.templates[0]
    assert recipe["model_name_or_path"] == family.checkpoint
    assert recipe["finetuning_type"] == "lora"


@pytest.mark.parametrize("path", EVALUATIONS, ids=ids)
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


@pytest.mark.parametrize("path", ABLATIONS, ids=ids)
@pytest.mark.parametrize("quick", [False, True], ids=["whole", "quick"])
def test_ablation_recipe_parses(path: Path, quick: bool) -> None:
    """And so does the recipe of each of its runs, by the host."""
    from llamafactory.hparams import get_train_args

    from vistadpo_plugin.ablation.plan import make_runs
    from vistadpo_plugin.ablation.recipe import read_recipe

    if quick and "quick" not in yaml.safe_load(path.read_text()):
        pytest.skip("has no --quick")
    read = read_recipe(path, quick, demo_base=lambda: Path("the/base"))
    assert str(read.output_dir) == f"saves/{path.stem}" + "_quick" * quick
    runs = make_runs(read, {("model", rung.name): 2.0 for rung in read.ladder.rungs if rung.same_compute_as})
    for run in runs[: len(read.ladder.rungs)]:
        get_train_args({**run.keys, "use_cpu": True})


def test_table_3_is_trained_as_the_7b_recipe_trains() -> None:
    """The full objective's run has the keys of vistadpo_videollava.yaml, but for where things go."""
    from vistadpo_plugin.ablation.plan import make_runs
    from vistadpo_plugin.ablation.recipe import read_recipe
    from vistadpo_plugin.arguments import VistaArguments

    (full,) = [
        run for run in make_runs(read_recipe(FOLDER / "ablate_videollava.yaml"), {}) if run.name == "model.full.seed_0"
    ]
    usual = yaml.safe_load((FOLDER / "vistadpo_videollava.yaml").read_text())
    apart = {"output_dir", "seed", "plot_loss", "save_total_limit", "vista_reference_cache"}
    defaults = {name: value for name, value in vars(VistaArguments()).items() if name in usual}
    assert {k: v for k, v in {**defaults, **full.keys}.items() if k not in apart} == {
        k: v for k, v in usual.items() if k not in apart
    }


@pytest.mark.parametrize("path", EVERY, ids=ids)
def test_head_says_command_hardware_memory_and_time(path: Path) -> None:
    head = path.read_text().split("\n\n")[0]
    for field in ("command", "hardware", "memory", "time"):
        assert re.search(rf"^#   {field}: +\S", head, re.MULTILINE), field


@pytest.mark.parametrize("path", PAPER, ids=ids)
def test_papers_hyper_parameters(path: Path) -> None:
    """Section 5 and the released script: beta 0.1, weights 1/1/0.4/0.2/0.1, lr 5e-7, 3 epochs, linear, warm-up 0.1.

    8 rows a step with LoRA, 16 with full tuning, on the GPUs that the head names.
    """
    text = path.read_text()
    recipe = yaml.safe_load(text)
    weights = [recipe[f"vista_{term}_weight"] for term in ("response", "video", "clip", "object", "token")]
    assert weights == [1.0, 1.0, 0.4, 0.2, 0.1]
    assert (recipe["pref_beta"], recipe["learning_rate"], recipe["num_train_epochs"]) == (0.1, 5e-7, 3.0)
    assert (recipe["lr_scheduler_type"], recipe["warmup_ratio"], recipe["weight_decay"]) == ("linear", 0.1, 0.0)
    gpus = int(re.search(r"^#   hardware: +(\d+) GPU", text, re.MULTILINE)[1])
    rows = gpus * recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    assert rows == {"lora": 8, "full": 16}[recipe["finetuning_type"]]
    if recipe["finetuning_type"] == "lora":
        assert (recipe["lora_rank"], recipe["lora_alpha"]) == (64, 16)
