"""Model families, one small file each. A new one is its file, its name in `FILES`, and a recipe."""

from __future__ import annotations

import functools
import importlib

from vistadpo_plugin.models.family import Family

FILES = ("video_llava",)


@functools.cache
def families() -> tuple[Family, ...]:
    """All families in the order of the documentation."""
    return tuple(importlib.import_module(f"{__name__}.{file}").FAMILY for file in FILES)


def family_of(template: str | None) -> Family | None:
    """The family that is trained with a template, None for one that is not of ours."""
    return next((family for family in families() if template in family.templates), None)
