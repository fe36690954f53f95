"""Qwen2.5-VL: as Qwen2-VL, with time steps counted in seconds."""

from __future__ import annotations

from vistadpo_plugin.models.family import Family, Shape

FAMILY = Family(
    name="Qwen2.5-VL",
    model_type="qwen2_5_vl",
    templates=("qwen2_vl",),
    recipe="vistadpo_qwen2_5_vl",
    checkpoint="Qwen/Qwen2.5-VL-7B-Instruct",
    shape=Shape(3584, 28, 28, 4, 18944, 152064, tower_parameters=677_000_000),
    tokens_a_frame=126,
    tells_time=True,
)
