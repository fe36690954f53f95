"""LanguageBind's towers, alone or inside a checkpoint, for transformers' Video-LLaVA, whose towers are plain CLIP."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.checkpoints.mapping import COUNTED, Dropped, rename_weights
from vistadpo_plugin.checkpoints.reading import read_json, reading
from vistadpo_plugin.checkpoints.weights import Weight, read_weights

TOWERS = ("video_tower", "image_tower")
TEMPORAL = Dropped("of temporal attention, which transformers' Video-LLaVA does not have")
_TEXT_SIDE = Dropped("of LanguageBind's text side, which Video-LLaVA does not use")
# What decides a tower's shapes and numbers.
_FACTS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "projection_dim",
)


@dataclass(frozen=True)
class TowerSources:
    """Folders that the towers come from, where INPUT has none, and that their configuration comes from."""

    both: Path | None = None  # a Video-LLaVA of transformers
    video_tower: Path | None = None  # LanguageBind's own
    image_tower: Path | None = None
    config: Path | None = None


def tower_weight(tower: str, rest: str) -> str:
    """The name in the model of a tower's weight, whose name in the tower is `rest`; or why it is dropped."""
    if re.search(r"\.temporal_(attn|embedding|layer_norm\d|mlp)\b", rest):
        return TEMPORAL
    return COUNTED if rest.endswith("embeddings.position_ids") else f"model.{tower}.{rest}"


def read_towers(sources: TowerSources, dropped: Counter[str]) -> tuple[dict[str, Weight], list[str]]:
    """Weights of the towers that `sources` names, by their names in the model, and names that fit nothing."""
    weights: dict[str, Weight] = {}
    strays: list[str] = []
    if sources.both is not None:
        pattern = re.compile(rf"(?:model\.)?({'|'.join(TOWERS)})\.(?:vision_model\.)?(.+)")
        source = {name: weight for name, weight in read_weights(sources.both).items() if pattern.fullmatch(name)}
        weights, _ = rename_weights(source, lambda name: tower_weight(*pattern.fullmatch(name).groups()), dropped)
    for tower in TOWERS:
        folder = getattr(sources, tower)
        if folder is not None:
            made, unknown = rename_weights(read_weights(folder), _LanguageBind(tower), dropped)
            weights |= made
            strays += unknown
    return weights, strays


@dataclass(frozen=True)
class _LanguageBind:
    tower: str

    def __call__(self, name: str) -> str | None:
        if name.startswith("vision_model."):
            return tower_weight(self.tower, name.removeprefix("vision_model."))
        is_text = name.startswith(("text_model.", "text_projection.", "visual_projection.")) or name == "logit_scale"
        return _TEXT_SIDE if is_text else None


def vision_config(sources: TowerSources) -> Any:
    """The towers' one configuration: `sources.config`'s, else that of the folders they come from, else the port's own.

    Raises ValueError when the towers' folders disagree.
    """
    from transformers import VideoLlavaConfig

    named = [sources.config] if sources.config else [sources.both, sources.video_tower, sources.image_tower]
    configs = {folder: _read_config(folder) for folder in named if folder is not None}
    first = next(iter(configs.values()), None)
    if first is None:
        return VideoLlavaConfig().vision_config
    for config in configs.values():
        differing = [name for name in _FACTS if getattr(config, name) != getattr(first, name)]
        if differing:
            values = " and ".join(f"{getattr(one, differing[0])} in {place}" for place, one in configs.items())
            raise ValueError(
                f"both towers share one configuration in Video-LLaVA, but {differing[0]} is {values}. "
                "Name the right one with --vision-config."
            )
    return first


def _read_config(folder: Path) -> Any:
    from transformers import CLIPVisionConfig

    path = folder / "config.json"
    given = read_json(path)
    with reading(path, "a configuration of LanguageBind's towers"):
        given = given.get("vision_config", given)
        return CLIPVisionConfig(**{name: given[name] for name in _FACTS if name in given})
