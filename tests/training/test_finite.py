"""NaN and infinity: a run stops where they appear, by name, and leaves nothing broken behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import Gradients
from conftest import Demo, Run, run_recipe
from transformers import AutoModelForImageTextToText, TrainerCallback

from vistadpo_plugin.scoring.scorer import ReferenceScores, Scorer
from vistadpo_plugin.training.finite import broken_weights, check_gradients, check_reference

SAVED = ("adapter_model.safetensors", "model.safetensors")


def model_with(demo: Demo, folder: Path, value: float) -> str:
    """The tiny model with one weight of its last layer replaced."""
    shutil.copytree(demo.model, folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    with torch.no_grad():
        model.model.language_model.layers[-1].mlp.down_proj.weight[0, 0] = value
    model.save_pretrained(folder)
    return str(folder)


def nothing_saved(folder: Path) -> bool:
    """No weights anywhere below it, and no word of a finished run."""
    return not any(list(folder.rglob(name)) for name in (*SAVED, "train_results.json", "README.md"))


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_broken_weight_stops_the_first_step(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, value: float, filtered: bool
) -> None:
    """Whatever `logging_nan_inf_filter` says; before, the log said loss 0.0 and the adapter was saved."""
    with pytest.raises(FloatingPointError) as caught:
        train(
            model_name_or_path=model_with(demo, tmp_path / "model", value), logging_nan_inf_filter=filtered,
            save_strategy="steps", save_steps=1, max_samples=2, disable_shuffling=True,
        )  # fmt: skip
    said = str(caught.value)
    assert said.startswith("Step 1: the loss is not finite")
    first, second = (row["id"] for row in demo.rows[:2])
    for term in ("response", "video", "clip", "object", "token"):
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {term}: ")]
        assert f"rows.jsonl:1 (id {first}) (loss nan" in line and f"rows.jsonl:2 (id {second})" in line
    assert "of the reference" in said and "The reference is never trained" in said
    assert nothing_saved(tmp_path / "out")


def test_a_diverging_learning_rate_stops_before_anything_broken_is_saved(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    """AdamW moves a weight by the learning rate: 1e30 at step 1, and the products of step 2 are beyond float32."""
    with pytest.raises(FloatingPointError, match=r"^Step 2: the loss is not finite(.|\n)*0 of \d+ of the reference"):
        train(learning_rate=1e30, max_steps=4, save_strategy="steps", save_steps=2)
    assert nothing_saved(tmp_path / "out")


def test_gradients_that_are_not_finite_never_reach_the_weights(
    demo: Demo, recipe: dict[str, Any], tmp_path: Path
) -> None:
    """A finite loss whose gradient is not, as of a root at 0: the norm is NaN, and so every weight next."""

    class Break(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            parameter = next(p for name, p in model.named_parameters() if p.requires_grad and "lora_B" in name)
            parameter.register_hook(lambda gradient: gradient * float("nan"))

    for norm in (1.0, 0.0):
        seen = Gradients()
        with pytest.raises(
            FloatingPointError,
            match=r"^Step 1: the loss of .*, the gradients of all are not .norm nan",
        ):
            run_recipe({**recipe, "max_grad_norm": norm, "max_samples": 2, "max_steps": 1}, Break(), seen)
        assert not seen.steps, "the optimizer was about to step"
        assert nothing_saved(tmp_path / "out")


def test_weights_that_the_optimizer_breaks_are_not_saved(train: Callable[..., Run], tmp_path: Path) -> None:
    """Without epsilon Adam divides 0 by 0 at step 1: the gradients of every LoRA A are 0 while its B is."""
    with pytest.raises(FloatingPointError, match=r"^Step 1: 21 trained tensors are not finite .*lora_A"):
        train(adam_epsilon=0.0, max_steps=1)
    assert nothing_saved(tmp_path / "out")
    with pytest.raises(FloatingPointError, match="^Step 1: 21 trained tensors"):
        train(adam_epsilon=0.0, max_steps=3, save_strategy="steps", save_steps=1)
    assert nothing_saved(tmp_path / "out")


def test_an_evaluation_that_is_not_finite_stops_as_well(demo: Demo, recipe: dict[str, Any], tmp_path: Path) -> None:
    args = {**recipe, "do_train": False, "do_eval": True, "eval_dataset": "demo", "max_samples": 4}
    del args["dataset"]
    args["model_name_or_path"] = model_with(demo, tmp_path / "model", float("inf"))
    with pytest.raises(FloatingPointError, match="^Evaluation at step 0: the loss is not finite"):
        run_recipe(args)


def test_an_infinite_margin_with_a_loss_of_0_counts(train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hinge is flat there: nothing to see in the loss."""
    score = Scorer.__call__

    def call(self: Any, model: Any, batch: Any, encoded: Any, reference: ReferenceScores | None = None) -> Any:
        scores = score(self, model, batch, encoded, reference)
        if reference is not None:
            chosen = batch["terms"]["response"]["sequences"][:, 0]
            scores.log_probs = scores.log_probs.index_fill(0, chosen, float("inf"))
        return scores

    monkeypatch.setattr(Scorer, "__call__", call)
    off = {f"vista_{term}_weight": 0.0 for term in ("video", "clip", "object", "token")}
    with pytest.raises(FloatingPointError, match="loss 0, margin inf"):
        train(**off, pref_loss="hinge", max_steps=1)


def test_the_reference_cache_takes_no_broken_score(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(
        FloatingPointError, match=r"reference's scores are not finite.*rows.jsonl:\d+ \(id .*, full/chosen"
    ):
        train(
            model_name_or_path=model_with(demo, tmp_path / "model", float("inf")), vista_reference_cache=str(cache),
            max_samples=4,
        )  # fmt: skip
    assert not list(cache.rglob("*.safetensors"))


def test_every_score_of_the_reference_is_looked_at() -> None:
    """Two rows of two answers each; the hidden states are those of the second answers, two positions each."""
    answers = {"sequence": torch.tensor([0, 1, 1, 2, 3, 3]), "token_term": torch.tensor([1, 2, 4, 5])}
    names = [(0, "full/chosen"), (0, "full/rejected"), (1, "full/chosen"), (1, "full/rejected")]
    batch = {"where": ["rows.jsonl:1", "rows.jsonl:2"], "names": names, "groups": [{"answers": answers}]}
    fine = ReferenceScores(torch.zeros(4), torch.zeros(4), [torch.zeros(4, 8)], None)
    check_reference(fine, batch)
    states = torch.zeros(4, 8)
    states[2, 7] = float("nan")
    with pytest.raises(FloatingPointError, match="take them: rows.jsonl:2, full/rejected[.]"):
        check_reference(ReferenceScores(fine.log_probs, fine.outside, [states], None), batch)
    log_probs = torch.tensor([0.0, 0.0, -float("inf"), 0.0])
    with pytest.raises(FloatingPointError, match="take them: rows.jsonl:2, full/chosen[.]"):
        check_reference(ReferenceScores(log_probs, fine.outside, fine.hidden, None), batch)


def test_broken_weights_are_found_among_trained_ones_only() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    assert broken_weights(model) == []
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
        model[1].bias[1] = float("inf")
    assert broken_weights(model) == ["0.weight", "1.bias"]
    model[0].requires_grad_(False)
    assert broken_weights(model) == ["1.bias"]
    assert broken_weights(model.requires_grad_(False)) == []


def test_a_finite_norm_passes() -> None:
    check_gradients(torch.tensor(1e30), ["rows.jsonl:1"], "Step 1")
    with pytest.raises(FloatingPointError, match="norm inf"):
        check_gradients(float("inf"), ["rows.jsonl:1"], "Step 1")
