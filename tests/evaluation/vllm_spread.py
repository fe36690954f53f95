"""In half precision no two ways agree to the last reply: vLLM may be off the truth as far as the host is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from conftest import Demo

from evaluation.vllm_environment import ENGINE, ask, ask_through_vllm, build
from vistadpo_plugin.evaluation.inference import Responder

TOKENS = 4
HALF = {"infer_dtype": "bfloat16"}


def within_the_spread(demo: Demo, folder: Path, number: int) -> dict[str, float]:
    """Ask a tiny Qwen2.5-VL `number` questions in bf16 through both, and through the host in float32 for the truth.

    Errors of margins are alike in size: within a factor of 2, one bit, which kernels that round at other places have.
    The shares of replies that are the truth's have a standard error of sqrt(p (1 - p) / number) each, at most
    sqrt(0.5 / number) for the difference of two; three of them are allowed. Returns the figures.
    """
    corpus = [str(value) for row in demo.rows for value in row.values()]
    keys = build("qwen2_5_vl", folder / "model", corpus)
    rows = demo.rows
    asked = [
        (rows[index // len(rows) % len(rows)]["prompt"], str(demo.data / rows[index % len(rows)]["video"]))
        for index in range(number)
    ]
    exact = ask_one_by_one({**keys, "infer_dtype": "float32"}, asked)
    host = ask_one_by_one({**keys, **HALF}, asked)
    *vllm, _ = ask_through_vllm(folder, {**keys, **HALF, **ENGINE}, asked, TOKENS)
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
