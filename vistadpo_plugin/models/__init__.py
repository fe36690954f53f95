"""Model families, one small file each. A new one is its file, its name in `FILES`, and a recipe."""

from __future__ import annotations

import functools
import importlib

from vistadpo_plugin.models.family import Family

FILES = (
    "video_llava",
    "llava_next_video",
    "llava_onevision",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_5",
    "internvl",
    "pllava",
)


@functools.cache
def families() -> tuple[Family, ...]:
    """All families in the order of the documentation."""
    return tuple(importlib.import_module(f"{__name__}.{file}").FAMILY for file in FILES)


def family_of(template: str | None, checkpoint: str | None = None) -> Family | None:
    """The family that is trained with a template, None for one that is not of ours.

    Families that share one (Qwen2-VL and Qwen2.5-VL) take frames alike; of these it is the one that published
    `checkpoint`, else the first. `family_of_model` tells them apart.
    """
    fitting = [family for family in families() if template in family.templates]
    return next((family for family in fitting if family.checkpoint == checkpoint), fitting[0] if fitting else None)


def family_of_model(model_type: str) -> Family | None:
    """The family whose config has a `model_type`, None for one that is not of ours."""
    return next((family for family in families() if family.model_type == model_type), None)
