"""Qwen3.5 with its tower: Qwen3-VL's prompts; three layers of four have linear attention, so answers share no rows."""

from __future__ import annotations

from vistadpo_plugin.models.family import Family, Shape
from vistadpo_plugin.models.qwen3_vl import refuse_second_video

FAMILY = Family(
    name="Qwen3.5",
    model_type="qwen3_5",
    templates=("qwen3_5", "qwen3_5_nothink", "qwen3_6"),
    recipe="vistadpo_qwen3_5",
    checkpoint="Qwen/Qwen3.5-9B",
    shape=Shape(4096, 32, 16, 4, 12288, 248320, tower_parameters=456_000_000),
    tokens_a_frame=110,
    tells_time=True,
    shares_prefixes=False,
    refusal=refuse_second_video,
    fault="qwen3_vl_later_videos",
)
