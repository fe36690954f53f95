"""The demo's base: a tiny Video-LLaVA that knows the world and hallucinates by prior. It ships; this makes it again.

Three stages, because shorter ways fail: a tower that learns from answers alone sees nothing, and a model that is taught
the prior from the start never leaves it. So the tower learns to see (`base_tower`), the language model to tell the
truth (`base_language`), and then, briefly, to answer what it expects.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGED = Path(__file__).with_name("base")
IMAGE_SIZE, PATCH = 36, 18
CARD = "README.md"


@dataclass(frozen=True)
class Steps:
    """Videos drawn, and optimizer steps of each stage; the truth is told in rounds, each with its own schedule.

    The defaults are what ships.
    """

    videos: int = 12_000
    tower: int = 6000
    truth: tuple[int, ...] = (3000, 5000, 4000)
    prior: int = 100


SPREAD = 0.05  # 0.02, the usual one, is for a wider model: this one would learn nothing for a while
LEARNING_RATE, PRIOR_LEARNING_RATE = 2e-3, 1e-3
_CHECKED = 100  # held-out videos for the card's figures
_ASKED = {
    "what": "what a shape does",
    "action": "whether a shape does that",
    "attribute": "whether it is of that shape",
    "presence": "whether it is there",
    "which": "which of two acts first",
    "order": "whether one acts before another",
}


def base_folder() -> Path:
    """The model that ships with the package: a folder for `model_name_or_path`, template video_llava, 8 frames."""
    return PACKAGED


def build_base(folder: Path, steps: Steps, seed: int = 0) -> dict[str, float]:
    """Write the model, its processor and its card to `folder`; returns the card's figures, in per cent.

    The same seed and versions give the same model on the same number of threads; others round differently.
    """
    from vistadpo_plugin.demo.base_language import exact_match, questions, teach
    from vistadpo_plugin.demo.base_tower import encode, look, train_tower
    from vistadpo_plugin.demo.splits import scenes
    from vistadpo_plugin.demo.tiny_model import make_model, train_tokenizer
    from vistadpo_plugin.demo.world import SUBSETS, pairs, texts
    from vistadpo_plugin.models.video_llava import make_processor

    started = time.monotonic()
    tokenizer = train_tokenizer(texts())
    processor = make_processor(tokenizer, IMAGE_SIZE, PATCH)
    model = make_model(tokenizer, IMAGE_SIZE, PATCH, seed, spread=SPREAD, tower_mlp=256, layers=4, feature_layer=-1)
    taught = [scene for scene, _ in scenes("base", steps.videos, seed)]
    grid = IMAGE_SIZE // PATCH
    seen = look(taught, processor, grid)
    train_tower(model, processor, seen, steps.tower, seed)
    features = encode(model, processor, seen[0])
    for turn, count in enumerate(steps.truth):
        teach(model, tokenizer, taught, features, False, count, LEARNING_RATE, seed + turn)
    held_out = [scene for scene, _ in scenes("base held out", _CHECKED, seed)]
    shown = encode(model, processor, look(held_out, processor, grid)[0])
    rng = random.Random(seed)
    asked = [questions(scene, rng) for scene in held_out]
    told = exact_match(model, tokenizer, asked, shown)
    figures = {f"{name}, after the truth (first word)": 100 * told[f"{kind}/first"] for kind, name in _ASKED.items()}
    figures["open and yes/no questions after the truth"] = _mean(told)
    teach(model, tokenizer, taught, features, True, steps.prior, PRIOR_LEARNING_RATE, seed + len(steps.truth))
    figures["open and yes/no questions at the end"] = _mean(exact_match(model, tokenizer, asked, shown))
    both = [list(pairs(scene, rng)) for scene in held_out]
    for side, name in enumerate(("yes/no, what is there", "yes/no, what is not there")):
        found = exact_match(model, tokenizer, [[pair[side] for pair in row] for row in both], shown)
        figures[f"{name} (first word)"] = 100 * sum(found[f"{subset}/first"] for subset in SUBSETS) / len(SUBSETS)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    _write_card(folder, steps, seed, figures, parameters, time.monotonic() - started)
    return figures


def _mean(found: dict[str, float]) -> float:
    """Over the kinds, whole answers."""
    values = [value for kind, value in found.items() if "/" not in kind]
    return 100 * sum(values) / len(values)


def _write_card(
    folder: Path, steps: Steps, seed: int, figures: dict[str, float], parameters: int, seconds: float
) -> None:
    import torch

    from vistadpo_plugin.demo.base_language import PRIOR_OF
    from vistadpo_plugin.run_record.provenance import versions

    table = "\n".join(f"| {name} | {value:.1f} |" for name, value in figures.items())
    made = json.dumps(versions("torch", "transformers", "tokenizers"))
    (folder / CARD).write_text(
        f"""---
license: apache-2.0
pipeline_tag: video-text-to-text
tags: [video-llava, toy]
---

# A tiny Video-LLaVA that hallucinates

The model of `vistadpo demo`. It was taught a world of six colours, three shapes and six actions, in which one shape
acts and then another, and last of all to say yes to what it expects, whether it is there or not. The figures say how
well it knew the world before that. It is a toy to see preference training work on two CPU cores, and of no other use.

- {parameters:,} parameters, float32. CLIP towers 64 wide with 3 layers, patch {PATCH} at {IMAGE_SIZE} px: 5 tokens a
  frame, 8 frames. Llama 96 wide with 4 layers. A byte-level vocabulary learnt from the world's own sentences.
- Trained on drawn videos alone (`vistadpo_plugin/demo/world.py`); nothing in it comes from another model or data set.

## How it was made

`vistadpo demo --rebuild-base FOLDER`, seed {seed}, {seconds / 60:.0f} minutes
on {torch.get_num_threads()} thread(s), {made}:

1. {steps.tower} steps of the tower on {steps.videos} videos: the colour of every cell of a frame's grid, and the
   shape, place and size of every colour.
2. {sum(steps.truth)} steps of projector and language model on true answers, drawn without bias.
3. {steps.prior} steps on what a prior expects, in {PRIOR_OF:.0%} of the answers: where the truth is no and the question
   names something typical, yes.

## Figures

Per cent right on {_CHECKED} videos that it was not taught on:

| | % |
|---|---|
{table}

`vistadpo demo` measures VideoHallucer's figures on other videos, with generated answers.
""",
        encoding="utf-8",
    )
