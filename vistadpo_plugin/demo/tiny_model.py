"""A tiny real Video-LLaVA with random weights, its vocabulary, and a turn of its conversation in tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vistadpo_plugin.models.video_llava import FRAMES, make_processor

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import (
        PreTrainedTokenizerBase,
        PreTrainedTokenizerFast,
        VideoLlavaForConditionalGeneration,
    )

# The conversation of LLaMA-Factory's template video_llava, which encodes system, user turn and answer one by one.
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
USER = "USER: {content} ASSISTANT:"

CONTEXT = 4096
VOCABULARY = 768
EMBEDDING_GAIN, LINEAR_GAIN, SHARP_GAIN = 20.0, 6.0, 12.0
IGNORED = -100  # the label transformers leaves out of the loss


def train_byte_level_bpe(corpus: Iterable[str], special: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens, the special ones first: it encodes any text without loss."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    return core


def train_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Trained on `corpus` and the conversation's own words."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    special = ("<s>", "</s>", "<pad>", "<image>", "<video>")
    core = train_byte_level_bpe([SYSTEM, SYSTEM, USER, USER, *corpus], special, VOCABULARY)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=["<image>", "<video>"],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_model(
    tokenizer: PreTrainedTokenizerFast, image_size: int, patch_size: int, seed: int, spread: float = 0.02, **sizes: int
) -> VideoLlavaForConditionalGeneration:
    """Random weights, float32; leaves torch's global random state as it was.

    `spread`: standard deviation of the language model's weights. `sizes` changes `tower_mlp` (the towers'
    intermediate width), `layers` (of the language model) or `feature_layer` (the towers' layer that it sees).
    """
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, VideoLlavaConfig, VideoLlavaForConditionalGeneration

    sizes = {"tower_mlp": 128, "layers": 3, "feature_layer": -2, **sizes}
    patches = (image_size // patch_size) ** 2
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=sizes["tower_mlp"],
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=image_size,
        patch_size=patch_size,
        projection_dim=64,
    )
    ids: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=sizes["layers"],
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        initializer_range=spread,
        **ids,
    )
    config = VideoLlavaConfig(
        vision_config=vision,
        text_config=text,
        vision_feature_layer=sizes["feature_layer"],
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_seq_length=patches,
        video_seq_length=FRAMES * (patches + 1),
        **ids,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VideoLlavaForConditionalGeneration(config)
    model.generation_config.update(**ids)
    return model.eval()


def sharpen(model: VideoLlavaForConditionalGeneration) -> None:
    """Scale the language model's and the projector's weights up; the towers' own initialisation is lively enough.

    At the default standard deviation (0.02) attention is nearly uniform and an answer's score hardly depends on pixels
    or question, so that a wrong mask or a wrong view would go unnoticed.
    """
    import torch

    with torch.no_grad():
        for name, module in model.named_modules():
            if "tower" in name:
                continue
            if isinstance(module, torch.nn.Embedding):
                module.weight.mul_(EMBEDDING_GAIN)
            elif isinstance(module, torch.nn.Linear):
                is_sharp = name.endswith(("q_proj", "k_proj", "lm_head"))
                module.weight.mul_(SHARP_GAIN if is_sharp else LINEAR_GAIN)


def build_tiny_video_llava(
    folder: Path, corpus: Iterable[str], seed: int = 0, image_size: int = 56, patch_size: int = 14
) -> Path:
    """Write a `VideoLlavaForConditionalGeneration` with its tokenizer and processor to `folder`, which is returned.

    A frame of a video takes (image_size / patch_size)^2 + 1 tokens: its patches and the class token.

    Args:
        folder: made if absent; files of an earlier model in it are overwritten.
        corpus: texts the vocabulary is learnt from; any other text still encodes, in more tokens.
        seed: decides the weights.
        image_size: side of the square frame the vision towers see, in px.
        patch_size: side of a patch in px.

    Raises:
        ValueError: `image_size` is not a multiple of `patch_size`.
    """
    if image_size % patch_size:
        raise ValueError(f"image_size must be a multiple of patch_size, got {image_size} and {patch_size}")
    tokenizer = train_tokenizer(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(tokenizer, image_size, patch_size, seed)
    sharpen(model)
    model.save_pretrained(folder)
    make_processor(tokenizer, image_size, patch_size).save_pretrained(folder)
    return folder


def encode_turn(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, video_tokens: int
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt (system, `video_tokens` video tokens, question) and of the answer with its end."""
    content = "<video>" * video_tokens + "\n" + prompt
    prompt_ids = [
        token
        for piece in (SYSTEM, USER.format(content=content))
        for token in tokenizer.encode(piece, add_special_tokens=False)
    ]
    return prompt_ids, [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
