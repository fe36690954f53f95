"""Tiny checkpoints in the layouts of LLaVA-Hound's and PLLaVA's authors, made from transformers' models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict, split_torch_state_dict_into_shards
from torch import Tensor

Weights = dict[str, Tensor]

VISION = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
    "projection_dim": 64,
    "hidden_act": "gelu",
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 20000.0,
}
PIECES = 320
CORPUS = [
    "USER: what moves? ASSISTANT: a red square moves left slowly, then it stops",
    "A chat between a curious user and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
]


def write_sentencepiece(folder: Path) -> None:
    """`tokenizer.model` with its two small files, as Vicuna has them: byte fallback, <unk> for padding."""
    import sentencepiece

    corpus = folder.parent / f"{folder.name}.txt"
    corpus.write_text("\n".join(CORPUS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=PIECES,
        model_type="bpe",
        byte_fallback=True,
        pad_id=-1,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    config = {**names, "tokenizer_class": "LlamaTokenizer", "model_max_length": 2048, "padding_side": "right"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))


def save_bin(weights: Weights, folder: Path, shard: str | int) -> None:
    """`torch.save` files with an index, as older releases are."""
    split = split_torch_state_dict_into_shards(
        weights, filename_pattern="pytorch_model{suffix}.bin", max_shard_size=shard
    )
    for name, keys in split.filename_to_tensors.items():
        torch.save({key: weights[key] for key in keys}, folder / name)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def hound_name(name: str) -> str:
    """The original's name of a weight of `VideoLlavaForConditionalGeneration`."""
    for tower in ("video_tower", "image_tower"):
        name = name.replace(f"model.{tower}.", f"model.{tower}.{tower}.")
    name = name.replace("model.multi_modal_projector.linear_1.", "model.mm_projector.0.")
    name = name.replace("model.multi_modal_projector.linear_2.", "model.mm_projector.2.")
    return name.replace("model.language_model.", "model.")


def make_video_llava(rows: int = PIECES, dtype: torch.dtype = torch.float32) -> Any:
    """A random model whose vocabulary has `rows`: what LLaVA-Hound is without its temporal attention."""
    from transformers import CLIPVisionConfig, LlamaConfig, VideoLlavaConfig, VideoLlavaForConditionalGeneration

    from vistadpo_plugin.demo.tiny_model import sharpen

    config = VideoLlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(**TEXT, vocab_size=rows),
        image_token_index=rows,
        video_token_index=rows + 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VideoLlavaForConditionalGeneration(config)
    sharpen(model)
    return model.to(dtype).eval()


def hound_weights(model: Any) -> Weights:
    """All weights of the original, with those that transformers' model has no place for."""
    weights = {hound_name(name): tensor.clone() for name, tensor in model.state_dict().items()}
    width = VISION["hidden_size"]
    for layer in range(VISION["num_hidden_layers"]):
        block = f"model.video_tower.video_tower.encoder.layers.{layer}"
        weights[f"{block}.temporal_embedding"] = torch.randn(1, 8, width)
        weights[f"{block}.temporal_attn.q_proj.weight"] = torch.randn(width, width)
        weights[f"{block}.temporal_layer_norm1.bias"] = torch.randn(width)
    for layer in range(TEXT["num_hidden_layers"]):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.randn(8)
    weights["model.image_tower.image_tower.embeddings.position_ids"] = torch.arange(5)[None]
    return weights


HOUND_CONFIG = {
    **TEXT,
    "architectures": ["LlavaLlamaForCausalLM"],
    "model_type": "llava",
    "vocab_size": PIECES,
    "mm_image_tower": "LanguageBind/LanguageBind_Image",
    "mm_video_tower": "LanguageBind/LanguageBind_Video_merge",
    "mm_projector_type": "mlp2x_gelu",
    "mm_hidden_size": 64,
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "mm_use_x_start_end": False,
    "mm_use_x_patch_token": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def write_hound(folder: Path, weights: Weights, **changes: Any) -> Path:
    """The folder of a LLaVA-Hound, its weights in several `torch.save` files."""
    folder.mkdir(parents=True)
    write_sentencepiece(folder)
    (folder / "config.json").write_text(json.dumps({**HOUND_CONFIG, **changes}))
    save_bin(weights, folder, "300KB")
    return folder


def write_vision_config(folder: Path, **changes: Any) -> Path:
    """A folder with nothing but LanguageBind's config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "LanguageBindVideo", "vision_config": {**VISION, "add_time_attn": True, **changes}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_languagebind(folder: Path, tower: Weights) -> Path:
    """LanguageBind's own checkpoint of one tower, whose weights in the tower are `tower`."""
    write_vision_config(folder)
    text = {"text_model.final_layer_norm.weight": torch.randn(4), "logit_scale": torch.zeros(())}
    text["visual_projection.weight"] = torch.randn(4, 4)
    save_torch_state_dict({**text, **{f"vision_model.{name}": value for name, value in tower.items()}}, folder)
    return folder


POOLING = [8, 2, 2]
RANK = 4
PLLAVA_ROWS = 384  # padded to 64, as LLaVA-1.6's 32,064


def make_pllava(dtype: torch.dtype = torch.float32) -> Any:
    """A random PLLaVA over the tokens of `write_pllava`: what the released one is before its LoRA."""
    from vistadpo_plugin.demo.tiny_model import sharpen
    from vistadpo_plugin.models.pllava_model import PllavaConfig, PllavaForConditionalGeneration

    config = PllavaConfig(
        vision_config=VISION,
        text_config={**TEXT, "model_type": "llama", "vocab_size": PLLAVA_ROWS},
        image_token_index=PIECES,
        video_token_index=PIECES + 2,
        pooling_shape=POOLING,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = PllavaForConditionalGeneration(config)
    sharpen(model)
    return model.to(dtype).eval()


def lora_config(alpha: float) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=alpha, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])


def pllava_weights(model: Any) -> Weights:
    """All weights of the release: the language model is wrapped by PEFT itself, its LoRA filled with large numbers."""
    from peft import get_peft_model
    from transformers import LlamaForCausalLM

    llama = LlamaForCausalLM(model.config.text_config).to(model.dtype)
    llama.model.load_state_dict(model.model.language_model.state_dict())
    llama.lm_head.load_state_dict(model.lm_head.state_dict())
    wrapped = get_peft_model(llama, lora_config(32.0))
    generator = torch.Generator().manual_seed(2)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = (torch.randn(parameter.shape, generator=generator) / 4).to(model.dtype)
    weights = {f"language_model.{name}": tensor.clone() for name, tensor in wrapped.state_dict().items()}
    tower = model.model.vision_tower.state_dict()
    weights |= {f"vision_tower.vision_model.{name}": tensor.clone() for name, tensor in tower.items()}
    projector = model.model.multi_modal_projector.state_dict()
    return weights | {f"multi_modal_projector.{name}": tensor.clone() for name, tensor in projector.items()}


def write_pllava(folder: Path, weights: Weights, **changes: Any) -> Path:
    """The folder of a release: LLaVA-1.6's tokens <image> and <pad>, weights in several safetensors files."""
    folder.mkdir(parents=True)
    write_sentencepiece(folder)
    tokens = json.loads((folder / "tokenizer_config.json").read_text())
    added = {str(PIECES): {"content": "<image>"}, str(PIECES + 1): {"content": "<pad>"}}
    flags = {"special": True, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False}
    tokens |= {"pad_token": "<pad>", "added_tokens_decoder": {key: {**value, **flags} for key, value in added.items()}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    (folder / "added_tokens.json").write_text(json.dumps({"<image>": PIECES, "<pad>": PIECES + 1}))
    config = {
        "architectures": ["PllavaForConditionalGeneration"],
        "model_type": "pllava",
        "image_token_index": PIECES,
        "pad_token_id": PIECES + 1,
        "pooling_shape": [8, 16, 16],
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "text_config": {**TEXT, "model_type": "llama", "vocab_size": PLLAVA_ROWS, "gradient_checkpointing": False},
        "vision_config": {**VISION, "model_type": "clip_vision_model"},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_torch_state_dict(weights, folder, max_shard_size="200KB")
    return folder
