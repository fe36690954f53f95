"""Video-LLaVA: 8 frames, each its 256 patches and a class token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vistadpo_plugin.models.family import Family, Shape

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, VideoLlavaProcessor

FRAMES = 8
"""What the model was trained on."""


def _frame_tokens(processor: Any, pixel_processor: Any) -> int:
    crop = pixel_processor.crop_size
    patches = (crop["height"] // processor.patch_size) * (crop["width"] // processor.patch_size)
    return patches + processor.num_additional_image_tokens


def video_tokens(processor: Any, frames: int) -> int:
    """A video keeps the class token of each frame."""
    return frames * _frame_tokens(processor, processor.video_processor)


def image_tokens(processor: Any, inputs: dict[str, Any], number: int) -> int:
    """An image loses it."""
    dropped = processor.vision_feature_select_strategy == "default"
    return _frame_tokens(processor, processor.image_processor) - dropped


def make_processor(tokenizer: PreTrainedTokenizerFast, image_size: int, patch_size: int) -> VideoLlavaProcessor:
    """The processor of a Video-LLaVA whose towers see square frames of `image_size` px."""
    from transformers import VideoLlavaImageProcessor, VideoLlavaProcessor, VideoLlavaVideoProcessor

    sizes: dict[str, Any] = {
        "size": {"shortest_edge": image_size},
        "crop_size": {"height": image_size, "width": image_size},
    }
    return VideoLlavaProcessor(
        image_processor=VideoLlavaImageProcessor(**sizes),
        video_processor=VideoLlavaVideoProcessor(**sizes),
        tokenizer=tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def register_towers() -> None:
    """Let both towers load from the keys of the published checkpoint.

    There a tower's keys begin with `image_tower.vision_model.`, and transformers 5 takes `vision_model.` out of the
    first submodel of a type only: the video tower loads, the image tower stays random. Our rules come first, so that
    transformers' own find nothing left to do. Of a rule's two patterns a checkpoint is saved with the first, the one
    without `vision_model.`: so what is trained here loads where this repair is not, too.
    """
    from transformers import conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    known = conversion_mapping.get_checkpoint_conversion_mapping(FAMILY.model_type) or []
    rules = [
        WeightRenaming([rf"^{tower}(?!\.vision_model\.)", rf"^{tower}\.vision_model"], f"model.{tower}")
        for tower in FAMILY.towers
    ]
    conversion_mapping.register_checkpoint_conversion_mapping(FAMILY.model_type, [*rules, *known], overwrite=True)


FAMILY = Family(
    name="Video-LLaVA",
    model_type="video_llava",
    templates=("video_llava",),
    recipe="vistadpo_videollava",
    checkpoint="LanguageBind/Video-LLaVA-7B-hf",
    shape=Shape(4096, 32, 32, 32, 11008, 32064, tower_parameters=627_000_000),
    tokens_a_frame=257,
    differs="the port has no temporal attention in its video tower, which LanguageBind's has",
    exact_frames=True,
    video_tokens=video_tokens,
    image_tokens=image_tokens,
    centre_crop=True,
    towers=("video_tower", "image_tower"),
    register=register_towers,
)
