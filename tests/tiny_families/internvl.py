"""A tiny InternVL: 4 tokens a frame, and the text that numbers them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_families.parts import decoder, sharpen
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
)

from vistadpo_plugin.demo.tiny_model import train_byte_level_bpe

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
NAMED = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
CONTEXT, SIDE, PATCH, TOKENS = 1024, 28, 7, 4
SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
PROMPT = f"system\n{SYSTEM}\nuser\nassistant\n" + "".join(f"Frame{number}: \n" for number in range(1, 17))


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    core = train_byte_level_bpe([PROMPT, PROMPT, *corpus], SPECIAL, 640)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=[*NAMED.values(), "<video>"],
        model_specific_special_tokens={**NAMED, "video_token": "<video>"},
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    config = InternVLConfig(
        text_config=decoder(tokenizer, CONTEXT, model_type="qwen2"),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=TOKENS,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = InternVLForConditionalGeneration(config)
    sharpen(model)
    size = {"height": SIDE, "width": SIDE}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size),
        video_processor=InternVLVideoProcessor(size=size),
        tokenizer=tokenizer,
        image_seq_length=TOKENS,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    keys = {"template": "intern_vl", "video_maxlen": 8, "video_fps": 2.0, "video_max_pixels": SIDE * SIDE}
    return {"model_name_or_path": str(folder), **keys, "cutoff_len": CONTEXT}
