"""A tiny Qwen3.5: a layer of linear attention and one of full attention, 2 tokens a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_families.parts import decoder, sharpen
from tiny_families.qwen2_vl import recipe_keys
from tiny_families.qwen3_vl import make_processor, token_ids, vision_config
from tiny_qwen import CONTEXT, train_tokenizer
from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    tokenizer = train_tokenizer(corpus)
    config = Qwen3_5Config(
        text_config={
            **decoder(tokenizer, CONTEXT),
            "head_dim": 32,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config=vision_config(),
        **token_ids(tokenizer),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Qwen3_5ForConditionalGeneration(config)
    sharpen(model, "visual", linear=20, embedding=10)
    with torch.no_grad():
        attention = model.model.language_model.layers[1].self_attn
        attention.q_norm.weight.add_(4)  # queries are normed: only this makes attention sharp
    model.save_pretrained(folder)
    make_processor(tokenizer).save_pretrained(folder)
    return {**recipe_keys(folder, "qwen3_5"), "enable_thinking": False}
