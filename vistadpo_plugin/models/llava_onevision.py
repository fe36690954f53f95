"""LLaVA-OneVision: a frame's 27 x 27 patches pooled to 196 tokens, and one newline behind a video."""

from __future__ import annotations

from typing import Any

from vistadpo_plugin.models import llava_next_video
from vistadpo_plugin.models.family import Family, Shape


def video_tokens(processor: Any, frames: int) -> int:
    """Pooling joins 2 x 2 patches, rounded up."""
    patches = round(processor.num_image_tokens**0.5)
    return frames * (-(-patches // 2)) ** 2 + 1


def image_tokens(processor: Any, inputs: dict[str, Any], number: int) -> int:
    """An image alone in its row is shown in tiles; several are shown whole, each with a newline."""
    if len(inputs["batch_num_images"]) == len(inputs["image_sizes"]):
        return llava_next_video.image_tokens(processor, inputs, number)
    return processor.num_image_tokens + 1


def register() -> None:
    """The host has no template: ChatML in the words the model was trained on."""
    from llamafactory.data.formatter import StringFormatter
    from llamafactory.data.mm_plugin import get_mm_plugin
    from llamafactory.data.template import register_template

    (name,) = FAMILY.templates
    register_template(
        name=name,
        format_user=StringFormatter(slots=["<|im_start|>user\n{{content}}<|im_end|>\n<|im_start|>assistant\n"]),
        format_assistant=StringFormatter(slots=["{{content}}<|im_end|>\n"]),
        format_system=StringFormatter(slots=["<|im_start|>system\n{{content}}<|im_end|>\n"]),
        default_system="You are a helpful assistant.",
        stop_words=["<|im_end|>"],
        replace_eos=True,
        mm_plugin=get_mm_plugin(name="llava_next_video", image_token="<image>", video_token="<video>"),
    )


FAMILY = Family(
    name="LLaVA-OneVision",
    model_type="llava_onevision",
    templates=("llava_onevision",),
    recipe="vistadpo_llava_onevision",
    checkpoint="llava-hf/llava-onevision-qwen2-7b-ov-hf",
    shape=Shape(3584, 28, 28, 4, 18944, 152128, tower_parameters=415_000_000),
    tokens_a_frame=196,
    exact_frames=True,
    video_tokens=video_tokens,
    image_tokens=image_tokens,
    towers=("vision_tower", "image_newline"),
    video_end="image_newline",
    register=register,
)
