"""LLaVA-Hound, in Video-LLaVA's original layout (`LlavaLlamaForCausalLM`), to transformers' Video-LLaVA.

Facts are those of transformers' conversion script for Video-LLaVA and of the authors' loading code; the files
themselves were not at hand.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from vistadpo_plugin.checkpoints.languagebind import TOWERS, TowerSources, read_towers, tower_weight
from vistadpo_plugin.checkpoints.languagebind import vision_config as read_vision_config
from vistadpo_plugin.checkpoints.mapping import ROTARY, check_weights, expected_shapes, rename_weights
from vistadpo_plugin.checkpoints.output import Converted
from vistadpo_plugin.checkpoints.reading import read_json, read_tokenizer, reading
from vistadpo_plugin.checkpoints.vocabulary import add_tokens, grow_vocabulary
from vistadpo_plugin.checkpoints.weights import read_weights
from vistadpo_plugin.models.video_llava import FRAMES, make_processor

PROJECTOR = {"0": "linear_1", "2": "linear_2"}  # places in the original's Sequential; 1 is the activation
_TEXT_REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_TEXT_OPTIONAL = (
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "attention_bias",
)


def rename(name: str) -> str | None:
    """The name in `VideoLlavaForConditionalGeneration` of a weight, why it is dropped, or None for an unknown one."""
    if name == "lm_head.weight":
        return name
    if name.endswith("rotary_emb.inv_freq"):
        return ROTARY
    if found := re.fullmatch(r"model\.(?P<tower>video_tower|image_tower)\.(?P=tower)\.(?P<rest>.+)", name):
        return tower_weight(found["tower"], found["rest"])
    if found := re.fullmatch(r"model\.mm_projector\.(?P<place>\d+)\.(?P<rest>weight|bias)", name):
        place = PROJECTOR.get(found["place"])
        return place and f"model.multi_modal_projector.{place}.{found['rest']}"
    if found := re.fullmatch(r"model\.(?P<rest>(embed_tokens|layers|norm)\..+)", name):
        return f"model.language_model.{found['rest']}"
    return None


def convert(folder: Path, sources: TowerSources) -> Converted:
    """Read a LLaVA-Hound folder.

    Raises:
        ValueError: the configuration is not one that transformers' Video-LLaVA can express, a tower comes from nowhere
            or from two places, or the weights are not exactly those of the model.
    """
    from transformers import VideoLlavaConfig, VideoLlavaForConditionalGeneration

    path = folder / "config.json"
    given = read_json(path)
    _check(given, folder)
    dropped: Counter[str] = Counter()
    weights, strays = rename_weights(read_weights(folder), rename, dropped)
    towers, unknown = read_towers(sources, dropped)
    _check_towers(weights, towers, folder)
    weights |= towers

    tokenizer = read_tokenizer(folder)
    image, video, pad = add_tokens(tokenizer, ["<image>", "<video>", "<pad>"])
    tokenizer.pad_token, tokenizer.padding_side = "<pad>", "left"
    rows = grow_vocabulary(weights, tokenizer)

    vision = read_vision_config(sources)
    with reading(path, "a configuration of Video-LLaVA"):
        patches = (vision.image_size // vision.patch_size) ** 2
        config = VideoLlavaConfig(
            vision_config=vision,
            text_config=_text_config(given, tokenizer, rows),
            image_token_index=image,
            video_token_index=video,
            image_seq_length=patches,
            video_seq_length=FRAMES * (patches + 1),
            vision_feature_layer=given.get("mm_vision_select_layer", -2),
            pad_token_id=pad,
        )
    expected = expected_shapes(VideoLlavaForConditionalGeneration, config, weights, path)
    check_weights(weights, expected, [*strays, *unknown])
    notes = [f"tokens: <image> {image}, <video> {video}, <pad> {pad}; {rows} rows of vocabulary"]
    processor = make_processor(tokenizer, vision.image_size, vision.patch_size)
    return Converted(VideoLlavaForConditionalGeneration, config, processor, weights, dropped, notes)


def _check(given: dict[str, Any], folder: Path) -> None:
    absent = [name for name in _TEXT_REQUIRED if name not in given]
    if absent:
        raise ValueError(f"{folder / 'config.json'} lacks {', '.join(absent)}.")
    kind = given.get("mm_projector_type", "linear")
    if kind != "mlp2x_gelu":
        raise ValueError(f"the projector is {kind!r}; transformers' Video-LLaVA has mlp2x_gelu (linear, gelu, linear).")
    feature = given.get("mm_vision_select_feature", "patch")
    if feature != "patch":
        raise ValueError(f"mm_vision_select_feature is {feature!r}; Video-LLaVA takes the patches of an image.")
    for key in ("mm_use_x_start_end", "mm_use_im_start_end"):
        if given.get(key):
            raise ValueError(f"{key} is set; transformers' Video-LLaVA puts no tokens around pixels.")


def _check_towers(own: dict[str, Any], given: dict[str, Any], folder: Path) -> None:
    for tower in TOWERS:
        prefix = f"model.{tower}."
        has_own, has_given = (any(name.startswith(prefix) for name in names) for names in (own, given))
        option = f"--{tower.replace('_', '-')}"
        if has_own and has_given:
            raise ValueError(f"{folder} has its own {tower}; leave out --towers-from and {option}.")
        if not has_own and not has_given:
            raise ValueError(
                f"{folder} has no weights of its {tower}; name LanguageBind's with {option} FOLDER, or take both "
                "towers of transformers' Video-LLaVA with --towers-from FOLDER."
            )


def _text_config(given: dict[str, Any], tokenizer: Any, rows: int) -> Any:
    from transformers import LlamaConfig

    facts = {name: given[name] for name in (*_TEXT_REQUIRED, *_TEXT_OPTIONAL) if name in given}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return LlamaConfig(**facts, **ids, vocab_size=rows)
