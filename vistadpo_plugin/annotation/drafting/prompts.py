"""The prompt pack: every word that a model is told, in a file of the package with a version and a hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from vistadpo_plugin.annotation.drafting.reply import schema

FILE = "prompts.yaml"


@dataclass(frozen=True)
class PromptPack:
    """Texts by name; `sha256` is over the pack's file and the schemas that its texts take in."""

    version: int
    sha256: str
    texts: Mapping[str, Any]

    def fill(self, name: str, **fields: object) -> str:
        """The text of that name. A brace that holds no name of `fields`, or comes with a value, stays."""
        names = "|".join(fields)
        return re.sub(rf"\{{({names})\}}", lambda match: str(fields[match[1]]), self.texts[name])

    def boxes(self, unit: str, size: tuple[int, int]) -> str:
        """How a box is given on a picture of this (width, height)."""
        return self.texts["boxes"][unit].replace("{width}", str(size[0])).replace("{height}", str(size[1]))


def read_prompts() -> PromptPack:
    """The pack that comes with the package."""
    content = files("vistadpo_plugin.annotation.drafting").joinpath(FILE).read_bytes()
    texts = yaml.safe_load(content)
    schemas = json.dumps([schema(name, "") for name in ("drafts", "box")])
    return PromptPack(texts.pop("version"), hashlib.sha256(content + schemas.encode()).hexdigest(), texts)
