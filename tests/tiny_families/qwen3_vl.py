"""A tiny Qwen3-VL with tied embeddings, as its 2B and 4B have them: 2 tokens a frame, deepstack after both layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_families.parts import decoder, sharpen
from tiny_families.qwen2_vl import HEAD, HEADS, recipe_keys
from tiny_qwen import CONTEXT, MERGE, SPECIAL, train_tokenizer
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

PATCH = 14
PIXELS = (PATCH * MERGE) ** 2


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    tokenizer = train_tokenizer(corpus)
    config = Qwen3VLConfig(
        text_config=decoder(
            tokenizer,
            CONTEXT,
            head_dim=HEAD,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        ),
        vision_config={**vision_config(), "deepstack_visual_indexes": [0, 1]},
        **token_ids(tokenizer),
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Qwen3VLForConditionalGeneration(config)
    sharpen(model, "visual", embedding=10)
    model.save_pretrained(folder)
    make_processor(tokenizer).save_pretrained(folder)
    return recipe_keys(folder, "qwen3_vl_nothink")


def vision_config() -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": HEAD * HEADS}
    return {
        "depth": 2,
        **sizes,
        "num_heads": 2,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "num_position_embeddings": 64,
    }


def token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    named = {"image_token_id": "image_pad", "video_token_id": "video_pad"}
    named |= {"vision_start_token_id": "vision_start", "vision_end_token_id": "vision_end"}
    assert all(f"<|{token}|>" in SPECIAL for token in named.values())
    return {name: tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in named.items()}


def make_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLProcessor:
    sizes = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2}
    size = {"shortest_edge": PIXELS, "longest_edge": 256 * PIXELS}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, **sizes),
        video_processor=Qwen3VLVideoProcessor(size=size, **sizes),
        tokenizer=tokenizer,
    )
