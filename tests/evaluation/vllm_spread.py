"""In half precision no two ways agree to the last reply: vLLM may be off the truth as far as the host is."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from conftest import Demo
from transformers import AutoModelForImageTextToText

from evaluation.vllm_environment import ENGINE, ask, ask_through_vllm, build
from vistadpo_plugin.evaluation.inference import Responder

TOKENS = 4


def within_the_spread(demo: Demo, folder: Path, number: int) -> dict[str, float]:
    """Ask a tiny Qwen2.5-VL `number` questions in bf16 through both, and the same weights in float32 for the truth.

    Errors of margins are alike in size: within a factor of 2, one bit, which kernels that round at other places have.
    The shares of replies that are the truth's have a standard error of sqrt(p (1 - p) / number) each, at most
    sqrt(0.5 / number) for the difference of two; three of them are allowed. Returns the figures.
    """
    corpus = [str(value) for row in demo.rows for value in row.values()]
    keys = build("qwen2_5_vl", folder / "half", corpus)
    model = AutoModelForImageTextToText.from_pretrained(folder / "half", dtype=torch.bfloat16)
    model.save_pretrained(folder / "half")
    shutil.copytree(folder / "half", folder / "exact")
    model.float().save_pretrained(folder / "exact")
    rows = demo.rows
    asked = [
        (rows[index // len(rows) % len(rows)]["prompt"], str(demo.data / rows[index % len(rows)]["video"]))
        for index in range(number)
    ]
    exact = ask_one_by_one({**keys, "model_name_or_path": str(folder / "exact")}, asked)
    host = ask_one_by_one(keys, asked)
    *vllm, _ = ask_through_vllm(folder, {**keys, **ENGINE}, asked, TOKENS)
    figures = {}
    for name, made in (("host", host), ("vllm", vllm)):
        pairs = list(zip(made, exact, strict=True))
        figures[f"{name} off"] = sum(abs(one[1] - true[1]) for one, true in pairs) / number
        figures[f"{name} same"] = sum(one[0] == true[0] for one, true in pairs) / number
    assert 0 < figures["vllm off"] <= 2 * figures["host off"], figures
    assert figures["vllm same"] >= figures["host same"] - 3 * math.sqrt(0.5 / number), figures
    return figures


def ask_one_by_one(keys: dict[str, Any], asked: list[tuple[str, str]]) -> list[tuple[str, float]]:
    responder = Responder(keys, TOKENS)
    made = [ask(responder, [question])[0] for question in asked]
    responder.close()
    return made
