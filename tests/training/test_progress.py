"""A run does the steps it planned, on rows, or fails and says so."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Demo, Run, keep_log, run_recipe, write_rows
from data.barcode_video import break_pictures
from transformers import EarlyStoppingCallback, TrainerCallback

from vistadpo_plugin.data.batches.pairing import PairedSampler
from vistadpo_plugin.training.progress import Progress


def break_videos(demo: Demo, folder: Path, *broken: int) -> dict[str, Any]:
    """Four rows of which these have a video that opens and does not decode; the keys of a recipe on them."""
    rows = demo.rows[:4]
    (folder / "videos").mkdir(parents=True)
    for number, row in enumerate(rows):
        shutil.copy(demo.data / row["video"], folder / row["video"])
        if number in broken:
            break_pictures(folder / row["video"])
    write_rows(folder, rows)
    return {"dataset": "rows", "dataset_dir": str(folder), "media_dir": str(folder), "vista_on_bad_row": "skip"}


def test_an_epoch_without_a_row_stops(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    """Before, every step had loss 0.0, the run ended well and the adapter, never trained, was saved."""
    data = break_videos(demo, tmp_path / "rows", 0, 1, 2, 3)
    with (
        keep_log([]) as said,
        pytest.raises(RuntimeError, match=r"^Epoch 1 had no usable row in its 2 steps.*skipped_rows.jsonl"),
    ):
        train(**data, max_steps=8, save_strategy="epoch")
    for step in (1, 2):
        assert sum(f"Step {step} has no usable row" in message for message in said) == 1
    assert not list((tmp_path / "out").rglob("adapter_model.safetensors"))
    assert len((tmp_path / "out" / "skipped_rows.jsonl").read_text().splitlines()) == 4


def test_a_step_without_a_row_is_said_and_is_no_loss_of_0(
    demo: Demo, train: Callable[..., Run], tmp_path: Path
) -> None:
    """Two of four rows break: with a row a step, half of the steps are empty. Of two steps in a log the loss is the
    mean over those with a row, as are the run's loss and the model card's."""
    data = break_videos(demo, tmp_path / "rows", 0, 1)
    keys = {**data, "per_device_train_batch_size": 1, "max_steps": 8}
    with keep_log([]) as said:
        run = train(**keys)
    losses = run.series("loss")
    empty = [step for step, loss in enumerate(losses, start=1) if math.isnan(loss)]
    assert len(empty) == 4
    assert [message.split(" has no usable row")[0] for message in said if "no usable row" in message] == [
        f"Step {step}" for step in empty
    ]
    having = [loss for loss in losses if not math.isnan(loss)]
    whole = json.loads((run.folder / "train_results.json").read_text())
    assert whole["train_loss"] == pytest.approx(sum(having) / 4, rel=1e-6)
    assert f"| train_loss | {sum(having) / 4:.6g} |" in (run.folder / "README.md").read_text()
    pairs = train(**keys, logging_steps=8, output_dir=str(tmp_path / "again"))
    assert pairs.series("loss") == pytest.approx([sum(having) / 4], rel=1e-6)


def test_an_evaluation_without_a_row_stops(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    """Before, its loss was a number of no row, and `load_best_model_at_end` would have taken it for the best."""
    data = break_videos(demo, tmp_path / "rows", 0, 1, 2, 3)
    data = {**data, "dataset_dir": str(demo.data), "media_dir": None}
    (demo.data / "broken.jsonl").write_text(
        "".join(json.dumps({**row, "video": str(tmp_path / "rows" / row["video"])}) + "\n" for row in demo.rows[:4])
    )
    before = (demo.data / "dataset_info.json").read_text()
    entries = {**json.loads(before), "broken": {"file_name": "broken.jsonl", "formatting": "vistadpo"}}
    (demo.data / "dataset_info.json").write_text(json.dumps(entries))
    try:
        with pytest.raises(RuntimeError, match="No row of eval could be used"):
            train(**{**data, "dataset": "demo", "eval_dataset": "broken"}, eval_strategy="steps", eval_steps=1)
    finally:
        (demo.data / "dataset_info.json").write_text(before)
        (demo.data / "broken.jsonl").unlink()


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_data_loader_that_ends_early_is_an_error(
    train: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulation: int
) -> None:
    """16 rows, 2 a batch; the order ends after 10 of them, as where something raises StopIteration."""
    order = PairedSampler.__iter__
    monkeypatch.setattr(PairedSampler, "__iter__", lambda self: islice(order(self), 10))
    done = {1: 5, 2: 2}[accumulation]
    message = rf"^Epoch 1 ended at step {done} where {8 // accumulation} were planned"
    with pytest.raises(RuntimeError, match=message):
        train(max_steps=None, num_train_epochs=2, gradient_accumulation_steps=accumulation, save_strategy="epoch")
    assert not list((tmp_path / "out").rglob("adapter_model.safetensors"))


def test_runs_that_are_to_end_early_do(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A callback that stops in the middle of an epoch, early stopping, an epoch cut short, and a resumed one."""

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 3

    args = {**recipe, "max_steps": 12, "save_strategy": "steps", "save_steps": 3}
    assert len(run_recipe(args, Stop()).series("loss")) == 3
    resumed = {**args, "resume_from_checkpoint": str(tmp_path / "out" / "checkpoint-3"), "max_steps": 10}
    assert len(run_recipe({**resumed, "output_dir": str(tmp_path / "resumed")}).series("loss")) == 10
    early = EarlyStoppingCallback(early_stopping_patience=1)
    keys = {"val_size": 4, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "learning_rate": 0.0}
    keys |= {"load_best_model_at_end": True, "output_dir": str(tmp_path / "early")}
    assert len(run_recipe({**args, **keys}, early).series("loss")) == 2


def test_the_loss_of_a_resumed_run_is_of_its_own_steps(recipe: dict[str, Any], tmp_path: Path) -> None:
    """The Trainer divides the losses of the steps since the checkpoint by all steps there are."""
    args = {**recipe, "max_steps": 4, "save_strategy": "steps", "save_steps": 3}
    last = run_recipe(args).series("loss")[-1]
    again = {
        **args,
        "resume_from_checkpoint": str(tmp_path / "out" / "checkpoint-3"),
        "output_dir": str(tmp_path / "b"),
    }
    run = run_recipe(again)
    assert json.loads((run.folder / "train_results.json").read_text())["train_loss"] == pytest.approx(last, rel=1e-6)


def test_an_epoch_that_a_resumed_run_finds_begun_is_not_called_empty() -> None:
    progress, args = Progress(), SimpleNamespace(gradient_accumulation_steps=1)
    state = SimpleNamespace(global_step=3, max_steps=4)
    progress.on_train_begin(args, state, None, train_dataloader=range(4))
    progress.on_epoch_begin(args, state, None)
    progress.count(4, 0)
    progress.on_step_end(args, state, SimpleNamespace(should_training_stop=False, should_epoch_stop=False))
    state.global_step = 4
    progress.on_epoch_end(args, state, None)
