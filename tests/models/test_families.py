"""What every family must do, on a tiny model of its real class: train, score, stay frozen, export, answer."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import FirstBatch
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe
from safetensors.torch import load_file

from vistadpo_plugin import models
from vistadpo_plugin.arguments import TERMS
from vistadpo_plugin.models import FILES, families
from vistadpo_plugin.scoring.attention import sharing_obstacle
from vistadpo_plugin.scoring.view_features import Encoded
from vistadpo_plugin.training import workflow
from vistadpo_plugin.training.trainer import VistaDPOTrainer

LOG_2 = math.log(2)
WEIGHTS = {"response": 1.0, "video": 1.0, "clip": 0.4, "object": 0.2, "token": 0.1}
PIXELS = ("pixel_values_videos", "pixel_values")
ROWS = 4


@dataclass
class Seen:
    """What a VistaDPO run of a family showed before its first step, on its first 4 rows with a random adapter."""

    trainable: set[str] = field(default_factory=set)
    first: dict[str, torch.Tensor] = field(default_factory=dict)
    full_view: dict[str, torch.Tensor] = field(default_factory=dict)
    moved: dict[str, set[str]] = field(default_factory=dict)
    scored: dict[str, tuple[torch.Tensor, dict[str, torch.Tensor]]] = field(default_factory=dict)
    outside: dict[str, torch.Tensor] = field(default_factory=dict)
    obstacle: str | None = None
    encodes: tuple[int, int] = (0, 0)


def listed(row: dict[str, Any]) -> dict[str, Any]:
    """The row as one whose `rejected` is a list of two: the other says the chosen answer's words backwards. The chosen
    answer's first token is a phrase."""
    *words, end = row["answers"]["chosen"]
    answers = {**row["answers"], "rejected[1]": [*words[::-1], end]}
    return {**row, "answers": answers, "rejected_weights": "[0.6, 0.4]", "phrases": '{"chosen": [0]}'}


class Look(VistaDPOTrainer):
    """The trainer that looks before it trains."""

    seen: Seen

    def train(self, *args: Any, **kwargs: Any) -> Any:
        rows = [listed(self.train_dataset[index, index ^ 1]) for index in range(ROWS)]  # mates: 0 and 1, 2 and 3
        model = self.model.train()
        lora = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.seen.trainable = set(lora)
        self.seen.obstacle = sharing_obstacle(model)
        batch = self._prepare_inputs(self.data_collator(rows))
        with torch.no_grad():
            known = self.reference(model, batch, Encoded())
        named = {f"{row}/{name}": number for number, (row, name) in enumerate(batch["names"])}
        self.seen.first = {name: known.log_probs[number] for name, number in named.items()}
        self.seen.full_view = batch["views"][0]  # of the first row's first term
        for term, result in self.term_results(model, batch).items():
            found = torch.autograd.grad(result.loss.sum(), list(lora.values()), retain_graph=True, allow_unused=True)
            moved = zip(lora, found, strict=True)
            self.seen.moved[term] = {name for name, grad in moved if grad is not None and grad.abs().max() > 0}
        kept = {name: p.detach().clone() for name, p in lora.items()}
        generator = torch.Generator().manual_seed(0)
        for name, parameter in lora.items():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05, generator=generator)
        ways = {"separate": False} if self.seen.obstacle else {"separate": False, "shared": True}
        for way, sharing in ways.items():
            self.seen.scored[way] = self._score(way, rows, lora, sharing)
        self.seen.scored["black"] = self._score("black", rows, lora, sharing=False, black=True)
        for name, parameter in lora.items():
            parameter.data.copy_(kept[name])
        return super().train(*args, **kwargs)

    def _score(
        self, way: str, rows: list[Any], lora: dict[str, torch.nn.Parameter], sharing: bool, black: bool = False
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        batch = self._prepare_inputs(dataclasses.replace(self.data_collator, sharing=sharing)(rows))
        if black:
            for view in batch["views"]:
                view.update({name: torch.zeros_like(view[name]) for name in PIXELS if name in view})
        encoded = Encoded()
        scores = self.scorer(self.model, batch, encoded)
        self.seen.encodes = (encoded.encodes, len(batch["views"]))
        outside = scores.singly.sum_outside(scores.singly.log_probs, batch["sequences"])
        self.seen.outside[way] = outside.detach()
        loss = ((scores.log_probs - 0.5 * outside) * torch.arange(1, len(scores.log_probs) + 1)).sum()
        gradients = torch.autograd.grad(loss, list(lora.values()))
        return scores.log_probs.detach(), dict(zip(lora, gradients, strict=True))


@dataclass
class Family:
    """A tiny model of a family, its recipe keys, and its VistaDPO run."""

    facts: models.Family
    recipe: dict[str, Any]
    seen: Seen
    run: Run
    said: list[str]


@pytest.fixture(scope="module", params=FILES)
def family(request: pytest.FixtureRequest, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Family:
    """LoRA, 4 rows a step, clips of unequal length."""
    folder = tmp_path_factory.mktemp(request.param)
    corpus = [str(value) for row in demo.rows for value in row.values()]
    keys = importlib.import_module(f"tiny_families.{request.param}").build(folder / "model", corpus)
    recipe = {**tiny_recipe(demo, folder / "vistadpo"), **keys, "per_device_train_batch_size": ROWS, "max_samples": 8}
    seen = Seen()
    trainer = type("Looking", (Look,), {"seen": seen})
    with pytest.MonkeyPatch.context() as patch, keep_log([]) as said:
        patch.setattr(workflow, "run_vistadpo", functools.partial(workflow.run_vistadpo, trainer_class=trainer))
        run = run_recipe({**recipe, "disable_shuffling": True})
    facts = importlib.import_module(f"{models.__name__}.{request.param}").FAMILY
    return Family(facts, recipe, seen, run, said)


def in_language_model(name: str) -> bool:
    # Some are saved under their old names, without `language_model`.
    return any(part in name for part in ("language_model", "lm_head")) or name.startswith(
        ("model.layers.", "model.embed_tokens.", "model.norm.")
    )


def test_the_registry_names_every_file() -> None:
    modules = {path.stem: f"{models.__name__}.{path.stem}" for path in Path(models.__file__).parent.glob("*.py")}
    has_family = {file for file, name in modules.items() if hasattr(importlib.import_module(name), "FAMILY")}
    assert has_family == set(FILES)
    assert len({family.name for family in families()}) == len(FILES)


def test_the_first_step_is_the_weighted_sum_of_log_2(family: Family) -> None:
    """Policy and reference are the same then; the adapter moves every term afterwards."""
    log = family.run.log
    assert log[0]["loss"] == pytest.approx(sum(WEIGHTS.values()) * LOG_2, abs=1e-4)
    for term in TERMS:
        assert log[0][f"vista/{term}_loss"] == pytest.approx(LOG_2, abs=1e-5)
        assert log[0][f"vista/{term}_rows"] == ROWS
        assert log[1][f"vista/{term}_margin"] != 0


def test_each_term_alone_moves_the_language_models_lora_and_nothing_else(family: Family) -> None:
    """Of a fresh adapter only the B matrices have gradients; each term reaches those of every layer."""
    assert all("lora_" in name and in_language_model(name) for name in family.seen.trainable)
    everything = {name for name in family.seen.trainable if "lora_B" in name}
    for term in TERMS:
        assert family.seen.moved[term] == everything, term


def test_packed_rows_equal_separate_rows(family: Family) -> None:
    """Log-probabilities, those outside of phrases, and LoRA gradients; what an answer scores depends on the pixels, so
    a wrong view would show."""
    seen = family.seen
    separate, gradients = seen.scored["separate"]
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    assert largest > 0
    black, _ = seen.scored["black"]
    assert ((black - separate).abs() > 1e-2).all()
    assert seen.encodes[0] == seen.encodes[1]  # the tower is asked once a view
    assert (seen.obstacle is None) == family.facts.shares_prefixes
    if seen.obstacle is not None:
        assert any(seen.obstacle in line and "a row of its own" in line for line in family.said)
        return
    assert not any("a row of its own" in line for line in family.said)
    shared, found = seen.scored["shared"]
    torch.testing.assert_close(shared, separate, rtol=3e-5, atol=3e-5)
    outside = seen.outside["separate"]
    assert (outside != 0).sum() >= ROWS  # the chosen answer on every view that the rows show it on
    torch.testing.assert_close(seen.outside["shared"], outside, rtol=3e-5, atol=3e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=3e-5 * largest, msg=name)


def test_plain_dpo_trains_and_says_the_same_of_the_answers(family: Family, tmp_path: Path) -> None:
    """The host's own stage on the same rows in its own batch: 4 clips of unequal length, chosen above rejected."""
    said: dict[str, torch.Tensor] = {}
    pixels: dict[str, torch.Tensor] = {}

    def look(model: Any, batch: dict[str, Any]) -> None:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with torch.no_grad():
            logits = model.eval()(**inputs, use_cache=False).logits.float()
        labels = batch["labels"][:, 1:]
        every = logits[:, :-1].log_softmax(-1).gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
        sums = (every * (labels >= 0)).sum(1)
        for number, total in enumerate(sums):
            said[f"{number % ROWS}/full/{'chosen' if number < ROWS else 'rejected'}"] = total
        pixels.update({name: batch[name] for name in PIXELS if name in batch})
        model.train()

    keys = {"stage": "dpo", "disable_shuffling": True, "output_dir": str(tmp_path / "dpo")}
    run = run_recipe({**family.recipe, **keys}, FirstBatch(look))
    losses = run.series("loss")
    assert losses[0] == pytest.approx(LOG_2, abs=1e-5) and losses[1] != losses[0]
    for name, total in said.items():
        assert float(total) == pytest.approx(float(family.seen.first[name]), rel=3e-5, abs=3e-4), name
    for name, value in pixels.items():
        ours = family.seen.full_view[name]
        assert torch.equal(value[: len(ours)], ours), name


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def test_full_tuning_leaves_tower_and_projector_alone(family: Family, tmp_path: Path) -> None:
    full = {"finetuning_type": "full", "output_dir": str(tmp_path / "full"), "max_steps": 1}
    recipe = {key: value for key, value in {**family.recipe, **full}.items() if not key.startswith("lora_")}
    run = run_recipe(recipe)
    assert run.log[0]["loss"] == pytest.approx(sum(WEIGHTS.values()) * LOG_2, abs=1e-4)
    before, after = weights(Path(recipe["model_name_or_path"])), weights(tmp_path / "full")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(in_language_model(name) for name in changed)
    assert any("layers.0" in name for name in changed)


def inference_keys(family: Family, **more: Any) -> dict[str, Any]:
    wanted = ("model_name_or_path", "template", "video_maxlen", "video_fps", "video_max_pixels", "video_min_pixels")
    keys = {name: family.recipe[name] for name in wanted if name in family.recipe}
    return {**keys, "adapter_name_or_path": str(family.run.folder), "infer_dtype": "float32", **more}


def test_export_merges_and_loads_and_chat_sees_the_frames_of_training(
    family: Family, demo: Demo, tmp_path: Path
) -> None:
    """The host's export, loaded by transformers: the same logits as the adapter in the host's chat, to rounding."""
    from llamafactory.chat.hf_engine import HuggingfaceEngine
    from llamafactory.hparams import get_infer_args
    from llamafactory.train.tuner import export_model
    from transformers import AutoModelForImageTextToText, AutoProcessor

    export_model(inference_keys(family, export_dir=str(tmp_path / "merged"), export_device="cpu"))
    merged, loading = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
    AutoProcessor.from_pretrained(tmp_path / "merged")

    engine = HuggingfaceEngine(*get_infer_args(inference_keys(family, max_new_tokens=8, do_sample=False)))
    row = demo.rows[0]
    inputs, length = HuggingfaceEngine._process_args(
        engine.model, engine.tokenizer, engine.processor, engine.template, engine.generating_args,
        [{"role": "user", "content": f"<video>{row['prompt']}"}], videos=[str(demo.data / row["video"])],
    )  # fmt: skip
    for name in PIXELS:
        if name in inputs:
            assert torch.equal(inputs[name], family.seen.full_view[name])
    with torch.inference_mode():
        made = engine.model.generate(**inputs)
        assert made.shape[1] > length
        given = {name: value for name, value in inputs.items() if name not in ("inputs", "generation_config")}
        adapted = engine.model(input_ids=inputs["inputs"], **given).logits[0, -1]
        alone = merged.eval()(input_ids=inputs["inputs"], **given).logits[0, -1]
    torch.testing.assert_close(alone, adapted, rtol=1e-4, atol=1e-3)
    base = AutoModelForImageTextToText.from_pretrained(family.recipe["model_name_or_path"]).eval()
    with torch.inference_mode():
        untrained = base(input_ids=inputs["inputs"], **given).logits[0, -1]
    assert (untrained - alone).abs().max() > 0.05  # the adapter is in it
