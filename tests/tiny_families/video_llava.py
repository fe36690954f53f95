"""A tiny Video-LLaVA: 5 tokens a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vistadpo_plugin.demo.tiny_model import build_tiny_video_llava


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    build_tiny_video_llava(folder, corpus, image_size=28, patch_size=14)
    return {"model_name_or_path": str(folder), "template": "video_llava", "video_maxlen": 8, "cutoff_len": 512}
