"""PLLaVA as its authors released it, LoRA beside the weights it belongs to, to `models.pllava_model`.

Facts are those of the authors' training and loading code, of which nothing is copied; the files were not at hand.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from vistadpo_plugin.checkpoints.lora import merge_lora
from vistadpo_plugin.checkpoints.mapping import COUNTED, ROTARY, check_weights, expected_shapes, rename_weights
from vistadpo_plugin.checkpoints.output import Converted
from vistadpo_plugin.checkpoints.reading import read_json, read_tokenizer, reading
from vistadpo_plugin.checkpoints.vocabulary import add_tokens, grow_vocabulary
from vistadpo_plugin.checkpoints.weights import read_weights

_SAME = ("projector_hidden_act", "vision_feature_layer", "vision_feature_select_strategy")


def rename(name: str) -> str | None:
    """The name in `PllavaForConditionalGeneration` of a merged weight, why it is dropped, or None where unknown."""
    if name.endswith("rotary_emb.inv_freq"):
        return ROTARY
    if name.endswith("embeddings.position_ids"):
        return COUNTED
    if found := re.fullmatch(r"language_model\.(?:base_model\.model\.)?(?P<rest>(model|lm_head)\..+)", name):
        return found["rest"].replace("model.", "model.language_model.", 1)
    if found := re.fullmatch(r"vision_tower\.(?:vision_model\.)?(?P<rest>.+)", name):
        return f"model.vision_tower.{found['rest']}"
    return f"model.{name}" if name.startswith("multi_modal_projector.") else None


def convert(folder: Path, alpha: float, pooling_shape: list[int]) -> Converted:
    """Read a PLLaVA folder and merge its LoRA with `alpha`.

    Raises:
        ValueError: LoRA is not whole, the weights are not exactly those of the model, or config.json and the tokenizer
            do not agree about the image token.
    """
    from transformers import CLIPImageProcessor, VideoLlavaVideoProcessor

    from vistadpo_plugin.models.pllava_model import PllavaConfig, PllavaForConditionalGeneration, PllavaProcessor

    path = folder / "config.json"
    given = read_json(path)
    absent = [part for part in ("vision_config", "text_config") if not isinstance(given.get(part), dict)]
    if absent:
        raise ValueError(f"{path} lacks {' and '.join(absent)}; it is not PLLaVA's.")
    dropped: Counter[str] = Counter()
    merged, pairs = merge_lora(read_weights(folder), alpha)
    weights, strays = rename_weights(merged, rename, dropped)

    tokenizer = read_tokenizer(folder)
    image, video = add_tokens(tokenizer, ["<image>", "<video>"])
    if image != given.get("image_token_index", image):
        raise ValueError(
            f"{folder}: <image> is token {image} of the tokenizer, but image_token_index is "
            f"{given['image_token_index']} in config.json; the files do not belong together."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = "<pad>"
    rows = grow_vocabulary(weights, tokenizer)
    with reading(path, "a configuration of PLLaVA"):
        config = PllavaConfig(
            vision_config=_plain(given["vision_config"]),
            text_config={**_plain(given["text_config"]), "vocab_size": rows, "pad_token_id": tokenizer.pad_token_id},
            image_token_index=image,
            video_token_index=video,
            pooling_shape=pooling_shape,
            **{name: given[name] for name in _SAME if name in given},
        )
    check_weights(weights, expected_shapes(PllavaForConditionalGeneration, config, weights, path), strays)

    size = config.vision_config.image_size
    sizes: dict[str, Any] = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor = PllavaProcessor(
        image_processor=CLIPImageProcessor(**sizes),
        video_processor=VideoLlavaVideoProcessor(**sizes),
        tokenizer=tokenizer,
        pooling_shape=pooling_shape,
    )
    notes = [
        f"{pairs} LoRA pairs merged with alpha {alpha:g}" if pairs else "no LoRA in it: --alpha had no effect",
        f"tokens: <image> {image}, <video> {video}; {rows} rows of vocabulary; pooling to {pooling_shape}",
    ]
    return Converted(PllavaForConditionalGeneration, config, processor, weights, dropped, notes)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A part of config.json without what its training left in it."""
    left = ("gradient_checkpointing", "torch_dtype", "dtype", "architectures", "transformers_version")
    return {name: value for name, value in config.items() if not name.startswith("_") and name not in left}
