"""A tiny LLaVA-OneVision: 9 tokens a frame, pooled from 25 patches, and a newline behind the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_families.parts import decoder, sharpen
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerFast,
)

from vistadpo_plugin.demo.tiny_model import train_byte_level_bpe

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
PROMPT = "system\nYou are a helpful assistant.\nuser\nassistant\n"
CONTEXT, SIDE, PATCH = 1024, 35, 7  # an odd number of patches a side, as the published 27: pooling rounds up
GRIDS = [[height * SIDE, width * SIDE] for height in (1, 2, 3) for width in (1, 2, 3)]


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    core = train_byte_level_bpe([PROMPT, PROMPT, *corpus], SPECIAL, 640)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>", "<image>", "<video>"],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    config = LlavaOnevisionConfig(
        text_config=decoder(tokenizer, CONTEXT, model_type="qwen2"),
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
        image_grid_pinpoints=GRIDS,
        vision_aspect_ratio="anyres_max_4",  # of the 9 tiles at most: the largest images are interpolated
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlavaOnevisionForConditionalGeneration(config)
    sharpen(model)
    size = {"height": SIDE, "width": SIDE}
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=GRIDS),
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokenizer,
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    keys = {"template": "llava_onevision", "video_maxlen": 8, "cutoff_len": CONTEXT}
    return {"model_name_or_path": str(folder), **keys}
