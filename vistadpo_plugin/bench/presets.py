"""The shapes that are measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A Video-LLaVA with random weights, and rows for it.

    `image` and `patch` in pixels; `answer_tokens` with the end-of-sequence token; `batch` rows a step; `steps` timed
    steps of each of `rounds` runs, after `warmup` steps that are not. `uneven` rows differ in length, see `rows.py`.
    """

    about: str
    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    image: int
    patch: int
    tower_hidden: int
    tower_layers: int
    tower_heads: int
    answer_tokens: int
    batch: int
    lora_rank: int
    bf16: bool = False
    frames: int = 8
    warmup: int = 1
    steps: int = 2
    rounds: int = 3
    uneven: bool = False

    @property
    def frame_tokens(self) -> int:
        return (self.image // self.patch) ** 2 + 1

    @property
    def video_tokens(self) -> int:
        return self.frames * self.frame_tokens


PRESETS = {
    "cpu": Preset(
        about="a 7B's proportions in about 60M parameters: 8 x 65 video tokens, prefix 30 times the answer",
        hidden=512,
        layers=16,
        heads=8,
        ffn=1376,
        vocabulary=3584,
        image=112,
        patch=14,
        tower_hidden=256,
        tower_layers=7,
        tower_heads=4,
        answer_tokens=18,
        batch=2,
        lora_rank=8,
    ),
    "cpu-head": Preset(
        about="59M parameters, more than half of them in vocabulary tables: 8 x 257 video tokens, 32-token answers",
        hidden=512,
        layers=6,
        heads=8,
        ffn=1376,
        vocabulary=32064,
        image=224,
        patch=14,
        tower_hidden=192,
        tower_layers=6,
        tower_heads=4,
        answer_tokens=32,
        batch=1,
        lora_rank=8,
    ),
    "7b": Preset(
        about="Video-LLaVA-7B's shape, bfloat16, LoRA: 8 x 257 video tokens; needs a GPU",
        hidden=4096,
        layers=32,
        heads=32,
        ffn=11008,
        vocabulary=32064,
        image=224,
        patch=14,
        tower_hidden=1024,
        tower_layers=24,
        tower_heads=16,
        answer_tokens=68,
        batch=2,
        lora_rank=64,
        bf16=True,
        warmup=2,
        steps=5,
    ),
}

STEP_SECONDS = (2.31, 1.92)
"""Of the preset 7b on one H100, two rows a step (docs/performance.md): the reference scored in the step, and known."""
