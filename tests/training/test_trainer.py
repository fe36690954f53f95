"""What a training run does: first-step values, gradients term by term, batching that does not matter, resume."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from capture import FirstBatch, Gradients, record_scores
from conftest import FRAME_TOKENS, Demo, Run
from conftest import run_recipe as run
from rounding import NATS
from scoring.test_scorer import answers_by_sequence, sequences_with_pixels
from truth import answer_distributions, kl, log_prob, minus_log_sigmoid

from vistadpo_plugin.training.trainer import VistaDPOTrainer

TERMS = ("response", "video", "clip", "object", "token")
WEIGHTS = {"response": 1.0, "video": 1.0, "clip": 0.4, "object": 0.2, "token": 0.1}


def test_policy_equal_to_reference_starts_at_log_2(recipe: dict[str, Any]) -> None:
    """Every term log 2, the total (1 + 1 + 0.4 + 0.2 + 0.1) * log 2 = 1.8715; the demo's first 8 rows are complete."""
    first = run({**recipe, "max_samples": 8, "per_device_train_batch_size": 8, "max_steps": 1}).log[0]
    for term in TERMS:
        assert first[f"vista/{term}_loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert first[f"vista/{term}_rows"] == 8
    assert first["loss"] == pytest.approx(1.8715, abs=1e-4)


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_trains_the_language_model_and_nothing_else(recipe: dict[str, Any], term: str) -> None:
    """Step 1: a gradient on every LoRA B of the language model (A's are 0 while B is). Step 2: on every A too."""
    gradients = Gradients()
    weights = {f"vista_{other}_weight": float(other == term) for other in TERMS}
    log = run({**recipe, **weights, "max_samples": 8, "disable_shuffling": True}, gradients).log
    of_terms = {key for key in log[0] if key.startswith("vista/")} - {"vista/chosen_logps"}
    assert {key.split("_")[0] for key in of_terms if "kl" not in key} == {f"vista/{term}"}
    assert log[0][f"vista/{term}_margin"] == 0
    assert log[1][f"vista/{term}_margin"] != 0, "after a step the policy differs from the reference (adapter off)"

    assert gradients.trainable, "nothing is trained"
    assert all("language_model" in name and "lora_" in name for name in gradients.trainable)
    # q, k, v, o, gate, up and down of 3 layers, an A and a B each.
    assert len(gradients.trainable) == 3 * 7 * 2
    for name, gradient in gradients.steps[0].items():
        assert gradient.abs().max() > 0 if "lora_B" in name else gradient.abs().max() == 0, name
    for name, gradient in gradients.steps[1].items():
        assert gradient.abs().max() > 0, name


@pytest.fixture(scope="module")
def other_model(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model with other weights: a reference that is not the policy."""
    from transformers import AutoModelForImageTextToText

    folder = tmp_path_factory.mktemp("reference") / "model"
    shutil.copytree(demo.model, folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model" in name:
                parameter.mul_(1 + 0.02 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pref_loss": "hinge"},
        {"pref_loss": "ipo"},
        {"vista_token_loss": "kl"},
        {"dpo_label_smoothing": 0.2},
        {"pref_ftx": 0.5, "ld_alpha": 0.3},
        {"pref_ftx": 0.5, "ld_alpha": 0.3, "pref_loss": "ipo"},
        {"vista_loss": "apo_zero"},
    ],
)
def test_step_1_equals_an_independent_computation(
    demo: Demo, recipe: dict[str, Any], other_model: str, changes: dict[str, Any]
) -> None:
    """Policy and another reference, every logged term of step 1 computed through plain transformers in float64."""
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    rows, seen = demo.rows, {}
    args = {
        **recipe,
        **changes,
        "max_samples": 8,
        "max_steps": 1,
        "ref_model": other_model,
        "per_device_train_batch_size": 3,
    }
    first = run(args, FirstBatch(lambda model, batch: seen.update(batch=batch))).log[0]

    tokenizer = AutoTokenizer.from_pretrained(demo.model)
    models = [AutoModelForImageTextToText.from_pretrained(folder) for folder in (demo.model, other_model)]
    batch, pixels = seen["batch"], sequences_with_pixels(seen["batch"])
    delta, length, divergence, likelihood, words, known = {}, {}, {}, {}, {}, {}
    for number, (row, field) in answers_by_sequence(batch, rows).items():
        tokens = len(pixels[number]) * FRAME_TOKENS
        (ids, policy), (_, reference) = (
            answer_distributions(model, tokenizer, row["prompt"], row[field], pixels[number], tokens)
            for model in models
        )
        words[number] = [policy[place, word].item() for place, word in enumerate(ids)]
        known[number] = log_prob(ids, reference)
        likelihood[number] = sum(words[number])
        delta[number] = likelihood[number] - known[number]
        length[number] = len(ids)
        divergence[number] = kl(reference, policy)

    kind, smoothing, beta = changes.get("pref_loss", "sigmoid"), changes.get("dpo_label_smoothing", 0.0), 0.1
    kind, alpha = changes.get("vista_loss", kind), changes.get("ld_alpha", 1.0)

    def weighed(number: int, compared: list[int]) -> float:
        """log p, what is longer than the shortest of the compared answers times `ld_alpha`."""
        public = min(length[one] for one in compared)
        return sum(words[number][:public]) + alpha * sum(words[number][public:])

    def ratio(number: int, compared: list[int]) -> float:
        found = weighed(number, compared) - known[number]
        return found / length[number] if kind == "ipo" else found

    def pairwise(preferred: float, rejected: float) -> float:
        margin = preferred - rejected
        if kind == "apo_zero":
            return 1 - 1 / (1 + math.exp(-beta * preferred)) + 1 / (1 + math.exp(-beta * rejected))
        if kind == "hinge":
            return max(0.0, 1 - beta * margin)
        if kind == "ipo":
            return (margin - 5) ** 2
        forward, backward = minus_log_sigmoid(beta * margin), minus_log_sigmoid(-beta * margin)
        return (1 - smoothing) * forward + smoothing * backward

    total = 0.0
    for term in TERMS:
        margins, losses = [], []
        for numbers in batch["terms"][term]["sequences"].tolist():
            if term == "token":
                w, re = numbers
                difference = divergence[re] - divergence[w]
                longer = (weighed(w, numbers) - likelihood[w]) - (weighed(re, numbers) - likelihood[re])
                margin = delta[w] - delta[re] + longer - 0.5 * difference
                if changes.get("vista_token_loss") == "kl":
                    margin = difference
                is_kl = changes.get("vista_token_loss") == "kl"
                losses.append(-beta * margin if is_kl else minus_log_sigmoid(beta * margin))
            else:
                preferred, *others = (ratio(number, numbers) for number in numbers)
                weights = (0.7, 0.3) if term == "response" else (1.0,)
                rejected = sum(weight * one for weight, one in zip(weights, others, strict=True))
                margin = preferred - rejected
                losses.append(pairwise(preferred, rejected))
            margins.append(margin)
        assert first[f"vista/{term}_loss"] == pytest.approx(sum(losses) / 3, abs=1e-3, rel=1e-3), term
        assert first[f"vista/{term}_margin"] == pytest.approx(sum(margins) / 3, abs=5e-3, rel=1e-3), term
        assert first[f"vista/{term}_accuracy"] == pytest.approx(sum(m > 0 for m in margins) / 3), term
        total += WEIGHTS[term] * sum(losses) / 3
    chosen = [numbers[0] for numbers in batch["terms"]["response"]["sequences"].tolist()]
    if "pref_ftx" in changes:
        responses = batch["terms"]["response"]["sequences"].tolist()
        anchors = [-weighed(numbers[0], numbers) / length[numbers[0]] for numbers in responses]
        assert first["vista/sft_loss"] == pytest.approx(sum(anchors) / 3, abs=1e-3)
        total += changes["pref_ftx"] * sum(anchors) / 3
        assert len({length[number] for number in responses[0]}) > 1, "answers of one length say nothing of `ld_alpha`"
    assert first["vista/chosen_logps"] == pytest.approx(sum(likelihood[number] for number in chosen) / 3, abs=5e-3)
    assert abs(first["vista/response_margin"]) > 0.05, "the reference must differ from the policy"
    assert first["loss"] == pytest.approx(total, abs=2e-3, rel=1e-3)
    assert first["rewards/margins"] == pytest.approx(beta * first["vista/response_margin"], rel=1e-5)


def test_loss_does_not_depend_on_how_rows_fall_into_micro_batches(recipe: dict[str, Any]) -> None:
    """6 rows a step from 16 rows, of which some lack a grounding: the third step of an epoch has 4 rows left.

    As 6 x 1, 2 x 3 or 4 + 2 rows: the same losses, term means and gradients.
    """
    logs, gradients = [], []
    for size, accumulation in ((6, 1), (2, 3)):
        captured = Gradients()
        args = {**recipe, "per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
        logs.append(run({**args, "max_steps": 4}, captured).log)
        gradients.append(captured.steps)
    for one, other in zip(*logs, strict=True):
        for key in one:
            if key.startswith(("vista/", "rewards/", "loss")):
                assert one[key] == pytest.approx(other[key], abs=NATS, nan_ok=True), (one["epoch"], key)
    for one, other in zip(*gradients, strict=True):
        for name, gradient in one.items():
            torch.testing.assert_close(gradient, other[name], atol=1e-5, rtol=1e-3, msg=name)


def test_resume_continues_the_same_loss_sequence(recipe: dict[str, Any], tmp_path: Any) -> None:
    """4 steps an epoch; stopped in the middle of epoch 0 (step 3) and of epoch 1 (step 6), where mates are others."""
    args = {**recipe, "per_device_train_batch_size": 4, "max_steps": 8, "save_strategy": "steps", "save_steps": 3}
    whole = run(args).series("loss")
    for step in (3, 6):
        checkpoint = f"{args['output_dir']}/checkpoint-{step}"
        again = {**args, "output_dir": str(tmp_path / f"from-{step}"), "resume_from_checkpoint": checkpoint}
        resumed = run(again)
        entries = [entry for entry in resumed.log if "loss" in entry and entry["step"] > step]
        assert len(entries) == 8 - step
        assert [entry["loss"] for entry in entries] == pytest.approx(whole[step:], abs=1e-6)
        assert [entry["vista/response_rows"] for entry in entries] == [4] * (8 - step)


@pytest.mark.parametrize("kind", ["full", "freeze"])
def test_full_and_freeze_tuning_keep_towers_and_projector_frozen(recipe: dict[str, Any], kind: str) -> None:
    gradients = Gradients()
    changes = {"finetuning_type": kind, "lora_target": None, "lora_rank": None, "learning_rate": 1e-5}
    args = {key: value for key, value in {**recipe, **changes}.items() if value is not None}
    log = run({**args, "max_samples": 8}, gradients).log
    assert log[0]["loss"] == pytest.approx(1.8715, abs=1e-4)  # the reference is a second copy of the model
    assert log[1]["vista/response_margin"] != 0, "the policy did not move away from the reference"
    assert gradients.trainable
    assert not any(part in name for name in gradients.trainable for part in ("tower", "multi_modal_projector"))
    layers = {name.split("layers.")[1].split(".")[0] for name in gradients.trainable if "layers." in name}
    assert layers == ({"0", "1", "2"} if kind == "full" else {"1", "2"})  # the host's freeze: the last 2 layers


def test_bf16_log_probs_are_float32(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 training: policy and reference are computed alike, so the first step is log 2 still, to 1e-3."""
    passes = record_scores(monkeypatch)
    first = run({**recipe, "bf16": True, "max_samples": 8, "max_steps": 1}).log[0]
    assert [one.scores.log_probs.dtype for one in passes] == [torch.float32] * 2
    assert passes[1].scores.kl.dtype == torch.float32
    assert first["loss"] == pytest.approx(1.8715, abs=1e-3)


def test_evaluation_logs_the_same_metrics(train: Callable[..., Run]) -> None:
    """val_size rows, evaluated with a pairing of their own; eval_loss is the weighted sum of the term losses."""
    log = train(val_size=4, do_eval=True, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=3).log
    evaluated = [entry for entry in log if "eval_loss" in entry]
    assert len(evaluated) >= 2
    last = evaluated[-1]
    for term in TERMS:
        assert math.isfinite(last[f"eval_vista/{term}_loss"])
    assert last["eval_vista/response_rows"] * 2 == 4  # 4 rows in 2 steps
    assert {"eval_rewards/margins", "eval_vista/kl_rejected"} <= set(last)


def test_evaluation_alone_is_its_own_reference(recipe: dict[str, Any]) -> None:
    """As in the host's DPO: without `ref_model` there is nothing to differ from, so every term is log 2."""
    import json
    from pathlib import Path

    args = {**recipe, "do_train": False, "do_eval": True, "eval_dataset": "demo", "max_samples": 8}
    del args["dataset"]
    run(args)
    results = json.loads((Path(args["output_dir"]) / "eval_results.json").read_text())
    assert results["eval_loss"] == pytest.approx(1.8715, abs=1e-4)
    assert results["eval_vista/clip_margin"] == 0


def test_what_the_loss_is_made_of_stays_float32_under_deepspeed() -> None:
    """The Trainer casts every float of a batch to DeepSpeed's type: -60.3 nats of a cached reference became -60.25."""
    trainer = VistaDPOTrainer.__new__(VistaDPOTrainer)
    config = SimpleNamespace(dtype=lambda: torch.bfloat16)
    plugin = SimpleNamespace(deepspeed_plugin=SimpleNamespace(hf_ds_config=config))
    trainer.is_deepspeed_enabled, trainer.args = True, SimpleNamespace(device=torch.device("cpu"))
    trainer.accelerator = SimpleNamespace(state=plugin)
    value = torch.tensor([-60.3])
    batch = {"terms": {"response": {"weights": value}}, "reference": {"log_probs": value, "hidden": [value]}}
    made = trainer._prepare_inputs({**batch, "views": [{"pixel_values": value}], "where": ["a row"]})
    for kept in (made["terms"]["response"]["weights"], made["reference"]["log_probs"], made["reference"]["hidden"][0]):
        assert kept.dtype == torch.float32 and torch.equal(kept, value)
    assert made["views"][0]["pixel_values"].dtype == torch.bfloat16 and made["where"] == ["a row"]
