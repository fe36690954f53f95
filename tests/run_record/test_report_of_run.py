"""What a run leaves behind: the recipe it can be run again from, its report, and the section in its model card."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from conftest import Demo, Run, run_recipe, tiny_recipe, write_rows
from omegaconf import OmegaConf
from transformers import TrainerCallback

from vistadpo_plugin.arguments import TERMS, VistaArguments
from vistadpo_plugin.run_record.report import RESOLVED_RECIPE, RUN_REPORT
from vistadpo_plugin.run_record.resolved_recipe import given_keys, resolve

SECRETS = {"hf_hub_token": "hf_very-secret", "swanlab_api_key": "sw_very-secret"}
RAY = {"runtime_env": {"env_vars": {"HARMLESS": "very-secret"}}, "headers": {"x": "very-secret"}, "num_cpus": 2}


class AtFirstStep(TrainerCallback):
    """Keeps what lies in the output folder when the first step begins."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.files:
            self.files = {name: Path(args.output_dir, name).read_text() for name in (RESOLVED_RECIPE, RUN_REPORT)}


@dataclass
class Reported:
    """A run, what it was given, the rows it read, and what it had written before its first step."""

    run: Run
    given: dict[str, Any]
    data: Path
    early: dict[str, str]

    @property
    def recipe(self) -> str:
        return (self.run.folder / RESOLVED_RECIPE).read_text()

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.run.folder / RUN_REPORT).read_text())

    @property
    def card(self) -> str:
        return (self.run.folder / "README.md").read_text()


@pytest.fixture(scope="module")
def reported(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Nine good rows and one that does not fit, six to train on and three to evaluate, LoRA."""
    folder = tmp_path_factory.mktemp("reported")
    data = write_rows(folder / "rows", [*demo.rows[:9], {**demo.rows[9], "prompt": "why " * 600}])
    given = {
        **tiny_recipe(demo, folder / "out"),
        **SECRETS,
        "ray_init_kwargs": RAY,
        "dataset": "rows",
        "dataset_dir": str(data.parent),
        "val_size": 3,
        "do_eval": True,
        "vista_on_bad_row": "skip",
        "vista_token_weight": 0,
        "learning_rate": 5e-4,
    }
    watch = AtFirstStep()
    return Reported(run_recipe(given, watch), given, data, watch.files)


def arguments(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """All arguments that the host makes of a recipe."""
    from llamafactory.hparams import get_train_args

    return [
        {item.name: getattr(part, item.name) for item in fields(part) if item.name not in (*SECRETS, "ray_init_kwargs")}
        for part in get_train_args(recipe)
    ]


def test_resolved_recipe_gives_the_same_arguments(reported: Reported) -> None:
    """Read as the host reads a recipe; that it resumes where a run has been is not what is asked."""
    read = OmegaConf.to_container(OmegaConf.load(reported.run.folder / RESOLVED_RECIPE))
    assert list(read)[:8] == list(reported.given)[:8]
    known = {item.name for item in fields(VistaArguments)}
    assert set(read) == (set(reported.given) | known) - set(SECRETS)
    assert (read["vista_token_weight"], read["vista_clip_weight"]) == (0.0, 0.4)
    before, after = arguments(reported.given), arguments(read)
    assert before == after


def test_no_secret_is_written_anywhere(reported: Reported) -> None:
    for file in reported.run.folder.rglob("*"):
        if file.is_file() and file.name in (RESOLVED_RECIPE, RUN_REPORT, "README.md"):
            assert "very-secret" not in file.read_text()
    inside = ["ray_init_kwargs.runtime_env.env_vars", "ray_init_kwargs.headers"]
    assert f"left out:  hf_hub_token, swanlab_api_key, {', '.join(inside)}, set in the run" in reported.recipe
    assert reported.report["left_out"] == [*SECRETS, *inside]
    assert reported.report["recipe"]["ray_init_kwargs"] == {"runtime_env": {}, "num_cpus": 2}


def test_versions_data_and_rows(reported: Reported) -> None:
    """The hash by hashlib on the whole file; rows and groundings counted in the plain JSON of the rows."""
    report = reported.report
    assert report["versions"]["torch"] == torch.__version__.split("+")[0]
    assert report["versions"]["transformers"] == transformers.__version__
    assert {"vistadpo-plugin", "llamafactory", "peft", "trl", "deepspeed", "av", "python"} <= report["versions"].keys()
    assert (report["world_size"], report["device"]) == (1, "cpu")
    (data,) = report["data"]
    assert data == {
        "dataset": "rows",
        "file": str(reported.data),
        "sha256": hashlib.sha256(reported.data.read_bytes()).hexdigest(),
        "rows": 10,
    }
    rows = [json.loads(line) for line in reported.data.read_text().splitlines()]
    splits = report["rows"]
    counts = {split: counted["rows"] for split, counted in splits.items()}
    skipped = report["skipped"]
    assert sum(counts.values()) + sum(one["rows"] for one in skipped.values()) == len(rows) == 10
    assert sum(one["rows"] for one in skipped.values()) == 1
    (reason,) = next(iter(skipped.values()))["reasons"]
    assert reason.startswith("needs # tokens but `cutoff_len` is #")
    for term, field in (("response", "chosen"), ("clip", "event"), ("object", "box")):
        carried = sum(counted["terms"][term]["rows"] for counted in splits.values())
        assert carried == sum(field in row for row in rows[:9]), term
    assert all("token" not in counted["terms"] for counted in splits.values())
    assert f"sha256 {data['sha256']}" in reported.recipe


def test_final_metrics_are_the_logs(reported: Reported) -> None:
    log = reported.run.log
    metrics = reported.report["metrics"]
    logged = [entry for entry in log if "loss" in entry]
    assert metrics["first"]["loss"] == logged[0]["loss"] and metrics["last"]["loss"] == logged[-1]["loss"]
    assert metrics["last"]["vista/video_margin"] == logged[-1]["vista/video_margin"]
    assert metrics["last"]["rewards/accuracies"] == logged[-1]["rewards/accuracies"]
    (whole,) = [entry for entry in log if "train_runtime" in entry]
    assert metrics["train"]["train_loss"] == whole["train_loss"]
    evaluated = json.loads((reported.run.folder / "eval_results.json").read_text())
    assert metrics["eval"]["eval_loss"] == evaluated["eval_loss"]
    assert metrics["eval"]["eval_vista/video_margin"] == evaluated["eval_vista/video_margin"]
    assert f"\n#   {'train_loss':<32}{whole['train_loss']:.6g}\n" in reported.recipe


def test_both_are_there_before_the_first_step(reported: Reported) -> None:
    """Of an interrupted run they are what is left: the whole recipe, and no figures."""
    assert yaml.safe_load(reported.early[RESOLVED_RECIPE]) == yaml.safe_load(reported.recipe)
    early = json.loads(reported.early[RUN_REPORT])
    assert early["metrics"] is None and early["finished"] is None
    assert reported.report["finished"] >= early["started"]
    unchanged = ("versions", "data", "rows", "skipped", "recipe")
    assert [early[name] for name in unchanged] == [reported.report[name] for name in unchanged]
    assert "train_loss" not in reported.early[RESOLVED_RECIPE]


def test_model_card_tells_of_the_run(reported: Reported) -> None:
    """Behind what transformers and peft write, whose metadata stay at the top."""
    card, report = reported.card, reported.report
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "peft" and "lora" in front["tags"]
    assert card.count("## Training with VistaDPO") == 1
    assert card.index("### Framework versions") < card.index("## Training with VistaDPO")
    assert f"- base model: {reported.given['model_name_or_path']}\n" in card
    assert f"sha256 `{report['data'][0]['sha256']}`" in card
    carried = [counted["terms"]["object"]["rows"] for counted in report["rows"].values()]
    assert f"| object | 0.2 | {carried[0]} | {carried[1]} |" in card
    assert "| token | off | - | - |" in card
    assert f"| train_loss | {report['metrics']['train']['train_loss']:.6g} |" in card
    block = card.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(block) == yaml.safe_load(reported.recipe)


def test_a_second_run_into_the_folder_has_one_section(
    train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed this time: the folder is what would be uploaded, at the end with the final figures."""
    train()
    cards: list[str] = []
    monkeypatch.setattr(
        "transformers.Trainer.init_hf_repo", lambda self, **kwargs: setattr(self, "hub_model_id", "a/b")
    )
    monkeypatch.setattr(
        "transformers.trainer.upload_folder",
        lambda folder_path, **kwargs: cards.append(Path(folder_path, "README.md").read_text()),
    )
    run = train(push_to_hub=True, hub_token="very-secret", max_steps=3)
    assert cards and all(card.count("## Training with VistaDPO") == 1 for card in cards)
    assert cards[-1] == (run.folder / "README.md").read_text()
    assert "max_steps: 3\n" in cards[-1] and "max_steps: 2\n" not in cards[-1] and "| train_loss |" in cards[-1]
    assert "very-secret" not in cards[-1] + (run.folder / RESOLVED_RECIPE).read_text()


def test_full_tuning_into_an_adapters_folder_is_refused(train: Callable[..., Run]) -> None:
    """transformers would load the adapter from there, and the host fails at its model card after the training."""
    folder = train(max_steps=1).folder
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="holds the adapter of an earlier LoRA run"):
        train(max_steps=1, finetuning_type="full", lora_target=None, lora_rank=None)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_evaluation_only_leaves_the_files_of_the_training_alone(train: Callable[..., Run]) -> None:
    folder = train(max_steps=1).folder
    before = {name: (folder / name).read_text() for name in (RESOLVED_RECIPE, RUN_REPORT, "README.md")}
    train(do_train=False, do_eval=True, dataset=None, eval_dataset="demo", max_samples=2)
    assert {name: (folder / name).read_text() for name in before} == before


def test_what_was_written_can_be_run(reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `llamafactory-cli train RECIPE overrides` reads it; overrides are part of the new recipe."""
    from llamafactory.train.tuner import run_exp

    out = tmp_path / "again"
    recipe = str(reported.run.folder / RESOLVED_RECIPE)
    monkeypatch.setattr("sys.argv", ["train", recipe, f"output_dir={out}", "vista_clip_weight=0.25", "max_steps=1"])
    run_exp()
    report = json.loads((out / RUN_REPORT).read_text())
    assert report["rows"] == reported.report["rows"] and report["data"] == reported.report["data"]
    first, second = (yaml.safe_load((folder / RESOLVED_RECIPE).read_text()) for folder in (reported.run.folder, out))
    assert second == first | {"output_dir": str(out), "vista_clip_weight": 0.25, "max_steps": 1}


def test_keys_of_a_command_line_of_options() -> None:
    """Only what was given, as the parser read it; a dashed option and a bare switch too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning_rate", "--learning-rate", type=float, default=1.0)
    parser.add_argument("--do_train", nargs="?", const=True, default=False)
    parser.add_argument("--stage", default="sft")
    parser.add_argument("--seed", type=int, default=42)
    given = given_keys(parser, ["--learning-rate", "0.5", "--do_train", "--seed=42"])
    assert given == {"learning_rate": 0.5, "do_train": True, "seed": 42}


def test_every_value_is_read_back_as_it_was() -> None:
    """By the host's reader, whose numbers are not PyYAML's."""
    given = {
        "rate": 5e-7, "text": "1e-5", "no": "no", "on": True, "none": None, "digits": "007", "inf": math.inf,
        "nested": {"stage": 2, "auto": "auto", "list": [1, 2.5, "x: y"]}, "umlaut": "größe", "long": "word " * 60,
        "date": "2026-01-02", "many": "a\nb",
    }  # fmt: skip
    text = resolve(given, VistaArguments()).to_yaml()
    read = OmegaConf.to_container(OmegaConf.create(text))
    assert {name: read[name] for name in given} == given
    assert [type(read[name]) for name in given] == [type(value) for value in given.values()]
    assert {name: read[name] for name in read if name.endswith("_weight")} == {
        **{f"vista_{term}_weight": weight for term, weight in zip(TERMS, (1.0, 1.0, 0.4, 0.2, 0.1), strict=True)},
        "vista_relevant_weight": 0.7,
        "vista_irrelevant_weight": 0.3,
    }


def test_secrets_inside_of_values_stay_out_too() -> None:
    given = {
        "ray_init_kwargs": {
            "runtime_env": {"working_dir": ".", "env_vars": {"HF_TOKEN": "x1", "WANDB_API_KEY": "x2", "HOME": "/h"}}
        },
        "deepspeed": '{"comet": {"api_key": "x3", "project": "p"}}',
        "om_hub_token": None,
        "add_special_tokens": "<a>,<b>",
    }
    resolved = resolve(given, VistaArguments())
    assert not any(secret in resolved.to_yaml() for secret in ("x1", "x2", "x3"))
    assert resolved.left_out == ("ray_init_kwargs.runtime_env.env_vars", "deepspeed.comet.api_key")
    assert resolved.given["ray_init_kwargs"] == {"runtime_env": {"working_dir": "."}}
    assert json.loads(resolved.given["deepspeed"]) == {"comet": {"project": "p"}}
    assert resolved.given["add_special_tokens"] == "<a>,<b>" and resolved.given["om_hub_token"] is None
