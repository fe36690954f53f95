"""Qwen3-VL: two frames a time step, each step behind its second in words; the tower feeds the first layers as well."""

from __future__ import annotations

from typing import Any

from vistadpo_plugin.models.family import Family, Shape


def refuse_second_video(messages: list[dict[str, str]], images: list[Any], videos: list[Any]) -> str | None:
    """The host looks times up by the number of the message, and takes the first video's number of frames for all."""
    if len(videos) > 1:
        return (
            f"a conversation shows {len(videos)} videos, and LLaMA-Factory 0.9.5 gives all of them the frame count and "
            "the times of the first. Keep one video a conversation."
        )
    if videos and "<video>" not in messages[0]["content"]:
        return (
            "a video comes after the first message, and LLaMA-Factory 0.9.5 then has no times for it. "
            "Put <video> into the first message."
        )
    return None


FAMILY = Family(
    name="Qwen3-VL",
    model_type="qwen3_vl",
    templates=("qwen3_vl_nothink", "qwen3_vl"),
    recipe="vistadpo_qwen3_vl",
    checkpoint="Qwen/Qwen3-VL-8B-Instruct",
    shape=Shape(4096, 36, 32, 8, 12288, 151936, tower_parameters=576_000_000),
    tokens_a_frame=110,
    tells_time=True,
    refusal=refuse_second_video,
    fault="qwen3_vl_later_videos",
)
