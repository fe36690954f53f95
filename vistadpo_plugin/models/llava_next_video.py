"""LLaVA-NeXT-Video: a frame's 24 x 24 patches pooled to 144 tokens; images in tiles of any resolution."""

from __future__ import annotations

from typing import Any

from vistadpo_plugin.models.family import Family, Shape


def video_tokens(processor: Any, frames: int) -> int:
    """Pooling joins 2 x 2 patches."""
    crop, joined = processor.video_processor.crop_size, 2 * processor.patch_size
    return frames * (crop["height"] // joined) * (crop["width"] // joined)


def image_tokens(processor: Any, inputs: dict[str, Any], number: int) -> int:
    """The whole image, its tiles without what pads them, and a newline for every row of patches."""
    height, width = inputs["image_sizes"][number].tolist()
    tokens = processor._get_number_of_features(height, width, *inputs["pixel_values"].shape[-2:])
    return tokens - (processor.vision_feature_select_strategy == "default")


FAMILY = Family(
    name="LLaVA-NeXT-Video",
    model_type="llava_next_video",
    templates=("llava_next_video", "llava_next_video_mistral", "llava_next_video_yi"),
    recipe="vistadpo_llava_next_video",
    checkpoint="llava-hf/LLaVA-NeXT-Video-7B-hf",
    shape=Shape(4096, 32, 32, 32, 11008, 32064, tower_parameters=324_000_000),
    tokens_a_frame=144,
    exact_frames=True,
    video_tokens=video_tokens,
    image_tokens=image_tokens,
    centre_crop=True,
    towers=("vision_tower", "image_newline"),
)
