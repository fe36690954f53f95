"""A tiny PLLaVA: 4 x 4 patches a frame, pooled to 2 x 2 tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vistadpo_plugin.demo.tiny_model import sharpen, train_tokenizer

CONTEXT, FRAMES, IMAGE, PATCH = 1024, 8, 56, 14
POOLING = [FRAMES, 2, 2]


def make_config(tokenizer: Any, **changes: Any) -> Any:
    from vistadpo_plugin.models.pllava_model import PllavaConfig

    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    heads: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    return PllavaConfig(
        vision_config={**heads, "num_hidden_layers": 3, "image_size": IMAGE, "patch_size": PATCH, "projection_dim": 64},
        text_config={
            **heads,
            **ids,
            "model_type": "llama",
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "max_position_embeddings": CONTEXT,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        **{"pooling_shape": POOLING, **ids, **changes},
    )


def build(folder: Path, corpus: list[str]) -> dict[str, Any]:
    """Write the model to `folder`; returns its recipe keys."""
    from transformers import CLIPImageProcessor, VideoLlavaVideoProcessor

    from vistadpo_plugin.models.pllava_model import PllavaForConditionalGeneration, PllavaProcessor

    tokenizer = train_tokenizer(corpus)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PllavaForConditionalGeneration(make_config(tokenizer))
    sharpen(model)
    model.save_pretrained(folder)
    sizes: dict[str, Any] = {"size": {"shortest_edge": IMAGE}, "crop_size": {"height": IMAGE, "width": IMAGE}}
    PllavaProcessor(
        image_processor=CLIPImageProcessor(**sizes),
        video_processor=VideoLlavaVideoProcessor(**sizes),
        tokenizer=tokenizer,
        pooling_shape=POOLING,
    ).save_pretrained(folder)
    return {"model_name_or_path": str(folder), "template": "pllava", "video_maxlen": FRAMES, "cutoff_len": 512}
