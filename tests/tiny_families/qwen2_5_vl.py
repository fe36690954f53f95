"""A tiny Qwen2.5-VL: 2 tokens a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_families.parts import sharpen
from tiny_families.qwen2_vl import recipe_keys
from tiny_qwen import build_tiny_qwen
from transformers import Qwen2_5_VLForConditionalGeneration


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    build_tiny_qwen(folder, corpus, seed=1)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    sharpen(model, "visual", embedding=10)
    model.save_pretrained(folder)
    return recipe_keys(folder, "qwen2_vl")
