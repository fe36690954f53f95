"""A checkpoint that lacks weights of its model: transformers makes them up at random and says so in a table only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import Any

from vistadpo_plugin.models import family_of_model


def refuse_missing_weights(auto_class: type) -> type:
    """A subclass of a transformers `AutoModel...` class whose `from_pretrained` refuses what would stay random.

    Only for models of our families: their checkpoints are whole, those of others are none of our business.
    """

    class Checked(auto_class):
        @classmethod
        def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
            path = pretrained_model_name_or_path
            model, info = super().from_pretrained(path, output_loading_info=True, **kwargs)
            family = family_of_model(model.config.model_type)
            if family is not None and info["missing_keys"]:
                raise ValueError(_sentence(str(path), family.name, info["missing_keys"], info["unexpected_keys"]))
            return model

    Checked.__name__, Checked.__qualname__ = auto_class.__name__, auto_class.__qualname__
    return Checked


def _sentence(path: str, family: str, missing: Set[str], unexpected: Set[str]) -> str:
    parts = Counter(".".join(key.split(".")[:2]) for key in missing)
    places = ", ".join(f"{number} in {part}" for part, number in sorted(parts.items()))
    strange = f", while {len(unexpected)} of its names fit nothing (such as {min(unexpected)})" if unexpected else ""
    return (
        f"{path} lacks weights of a {family}, which would stay random: {places} (such as {min(missing)}){strange}. "
        "Download it again if files are missing; a checkpoint in its authors' own layout needs `vistadpo convert` "
        "first (docs/checkpoints.md)."
    )
