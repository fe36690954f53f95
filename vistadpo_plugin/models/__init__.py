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


def family_of(template: str | None) -> Family | None:
    """The first family that is trained with a template, None for one that is not of ours.

    Families that share one (Qwen2-VL and Qwen2.5-VL) take frames alike; `family_of_model` tells them apart.
    """
    return next((family for family in families() if template in family.templates), None)


def family_of_model(model_type: str) -> Family | None:
    """The family whose config has a `model_type`, None for one that is not of ours."""
    return next((family for family in families() if family.model_type == model_type), None)
