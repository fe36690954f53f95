"""A tiny Qwen2-VL with tied embeddings, as its 2B has them: 2 tokens a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_families.parts import decoder, sharpen
from tiny_qwen import CONTEXT, MERGE, PATCH, PIXELS, SPECIAL, train_tokenizer
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

HEAD, HEADS = 16, 4


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    tokenizer = train_tokenizer(corpus)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = Qwen2VLConfig(
        text_config=decoder(
            tokenizer,
            CONTEXT,
            bos_token_id=ids["<|endoftext|>"],
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        ),
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": HEAD * HEADS,
            "num_heads": 2,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(config)
    sharpen(model, "visual", embedding=10)
    sizes = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2}
    size = {"shortest_edge": PIXELS, "longest_edge": 16 * PIXELS}
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, **sizes),
        video_processor=Qwen2VLVideoProcessor(size=size, **sizes),
        tokenizer=tokenizer,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return recipe_keys(folder, "qwen2_vl")


def recipe_keys(folder: Path, template: str, pixels: int = 4 * PIXELS) -> dict[str, Any]:
    """Of clips of 4 to 6 s: 5 frames, or 4 where that is their length, at other distances than `video_fps` says."""
    frames = {"video_fps": 1.1, "video_maxlen": 5, "video_max_pixels": pixels, "video_min_pixels": pixels // 4}
    return {"model_name_or_path": str(folder), "template": template, **frames, "cutoff_len": CONTEXT}
