"""PLLaVA: 16 frames at the midpoints of equal segments, pooled to 12 x 12 tokens each.

Neither transformers nor the host knows it: the model is `models.pllava_model`, the template is here. Facts about it are
those of its authors' code, of which nothing is copied.
"""

from __future__ import annotations

from typing import Any

from vistadpo_plugin.models.family import Family, Shape


def video_tokens(processor: Any, frames: int) -> int:
    return processor.video_tokens(frames)


def image_tokens(processor: Any, inputs: dict[str, Any], number: int) -> int:
    """An image is a video of one frame."""
    return processor.video_tokens(1)


def register_model_and_template() -> None:
    """The conversation as the model was tuned: Vicuna's roles after <s>, and no system prompt.

    (For its benchmarks there is one, another each time: a recipe's `default_system` sets it.)
    """
    from llamafactory.data.formatter import EmptyFormatter, StringFormatter
    from llamafactory.data.mm_plugin import get_mm_plugin
    from llamafactory.data.template import register_template

    import vistadpo_plugin.models.pllava_model  # noqa: F401

    register_template(
        name="pllava",
        format_prefix=EmptyFormatter(slots=[{"bos_token"}]),
        format_user=StringFormatter(slots=["USER: {{content}} ASSISTANT:"]),
        mm_plugin=get_mm_plugin(name="base", image_token="<image>", video_token="<video>"),
    )


FAMILY = Family(
    name="PLLaVA",
    model_type="pllava",
    templates=("pllava",),
    recipe="vistadpo_pllava",
    checkpoint="models/pllava-7b",
    shape=Shape(4096, 32, 32, 32, 11008, 32064, tower_parameters=324_000_000),
    tokens_a_frame=144,
    differs="a keyframe takes 144 tokens, where the original repeats a single frame to make a video of 2,304",
    exact_frames=True,
    video_tokens=video_tokens,
    image_tokens=image_tokens,
    sampling="midpoints",
    centre_crop=True,
    towers=("vision_tower",),
    register=register_model_and_template,
)
