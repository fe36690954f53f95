"""Models with position ids of several axes have to be told which tokens are seen, or transformers 5 counts words alone.

The host tells them in training; its chat hands pixels to `generate` without it, and Qwen's families then answer from
positions they were never trained on, without a word.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

TOKEN_KINDS = "mm_token_type_ids"
"""0 for text, 1 for an image's tokens, 2 for a video's."""


def add_token_kinds(model: torch.nn.Module, inputs: dict[str, Any]) -> None:
    """Add what `generate` needs to place images and videos to its `inputs` (`inputs`: token ids (1, n))."""
    rope_index = next((type(module).get_rope_index for module in model.modules() if _has_axes(module)), None)
    if rope_index is None or TOKEN_KINDS in inputs or not {"image_grid_thw", "video_grid_thw"} & inputs.keys():
        return
    if TOKEN_KINDS in inspect.signature(rope_index).parameters:
        ids, config = inputs["inputs"], model.config
        inputs[TOKEN_KINDS] = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()


def _has_axes(module: torch.nn.Module) -> bool:
    return hasattr(type(module), "get_rope_index")
