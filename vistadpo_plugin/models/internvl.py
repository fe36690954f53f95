"""InternVL in its transformers port: every frame an image of its own, numbered in the text."""

from __future__ import annotations

from itertools import islice
from typing import Any

from vistadpo_plugin.models.family import Family, Shape


def refuse_videos_before_images(messages: list[dict[str, str]], images: list[Any], videos: list[Any]) -> str | None:
    """Frames and images of a row travel in one tensor, images first."""
    text = "".join(message["content"] for message in messages)
    if images and videos and text.find("<video>") < text.rfind("<image>"):
        return (
            "the host hands this model the images of a row before its videos, so one would be shown in the place of "
            "the other where a <video> stands before an <image>. Put the images first."
        )
    return None


def keep_rows_apart(plugin: Any) -> Any:
    """The host hands the model all images of a batch and then all its videos; the model takes them row by row."""
    import torch
    from llamafactory.data.mm_plugin import InternVLPlugin

    class RowByRow(InternVLPlugin):
        def get_mm_inputs(
            self,
            images: list,
            videos: list,
            audios: list,
            imglens: list[int],
            vidlens: list[int],
            audlens: list[int],
            batch_ids: list[list[int]],
            processor: Any,
        ) -> dict[str, Any]:
            known = super().get_mm_inputs
            left, right = iter(images), iter(videos)
            rows = [
                known(list(islice(left, pictures)), list(islice(right, clips)), [], [], [], [], [], processor)
                for pictures, clips in zip(imglens, vidlens, strict=True)
            ]
            pixels = [row["pixel_values"] for row in rows if row]
            return {"pixel_values": torch.cat(pixels)} if pixels else {}

    return RowByRow(plugin.image_token, plugin.video_token, plugin.audio_token, plugin.expand_mm_tokens)


FAMILY = Family(
    name="InternVL 3",
    model_type="internvl",
    templates=("intern_vl",),
    recipe="vistadpo_internvl",
    checkpoint="OpenGVLab/InternVL3-8B-hf",
    shape=Shape(3584, 28, 28, 4, 18944, 151674, tower_parameters=331_000_000),
    tokens_a_frame=256,
    mend=keep_rows_apart,
    refusal=refuse_videos_before_images,
    fault="internvl_video_first",
)
