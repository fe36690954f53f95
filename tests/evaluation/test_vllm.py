"""Through vLLM a model says what it says through the host: the same replies and margins, on a CPU in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Demo
from eventhallusion_made import IDS, link_videos, write_recipe
from peft import LoraConfig, get_peft_model
from rounding import LOGIT, rounding
from transformers import AutoModelForImageTextToText

from evaluation.vllm_environment import ENGINE, NO_VLLM, PYTHON, ask, ask_through_vllm, build, run
from evaluation.vllm_spread import within_the_spread
from vistadpo_plugin.evaluation.inference import Responder

pytestmark = pytest.mark.skipif(PYTHON is None, reason=NO_VLLM)
FAMILIES = {"qwen2_vl": False, "qwen2_5_vl": False, "qwen3_vl": True, "internvl": True}
"""Whether a family is asked with an adapter on."""
TOKENS = 12
PROMPTS = ("What?", "Which shape moves to the left?\nPlease answer yes or no:", "Is it?", "What colour is the square?")
# Two sums of the probabilities of a few tokens, whose logits are of size 20 at most: the weights are scaled up.
MARGIN = rounding(2 * LOGIT, size=20.0)
NAME = "eventhallusion"


def questions(demo: Demo) -> list[tuple[str, str]]:
    """Each prompt about a video of its own, and the first about two."""
    videos = [str(video) for video in sorted((demo.data / "videos").glob("*.mp4"))]
    return [*zip(PROMPTS, videos, strict=False), (PROMPTS[0], videos[-1])]


def corpus(demo: Demo) -> list[str]:
    return [str(value) for row in demo.rows for value in row.values()]


def write_adapter(model: str, folder: Path) -> str:
    """Random LoRA on every matrix of the language model, strong enough to change replies."""
    base = AutoModelForImageTextToText.from_pretrained(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        target = r".*language_model\.layers.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
        adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=target))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_and_margins_are_those_of_the_host(family: str, demo: Demo, tmp_path: Path) -> None:
    keys = build(family, tmp_path / "model", corpus(demo))
    asked, base = questions(demo), None
    if FAMILIES[family]:
        responder = Responder(keys, TOKENS)
        base = ask(responder, asked)
        keys["adapter_name_or_path"] = write_adapter(keys["model_name_or_path"], tmp_path / "adapter")
    responder = Responder(keys, TOKENS)
    expected = [ask(responder, [question])[0] for question in asked]
    texts, margins = zip(*expected, strict=True)
    assert len(set(texts)) > 2 and max(margins) - min(margins) > 100 * MARGIN
    assert base is None or not {text for text, _ in base} & set(texts)

    *made, too_long = ask_through_vllm(tmp_path, {**keys, **ENGINE}, asked, TOKENS)
    assert [text for text, _ in made] == list(texts)
    assert [margin for _, margin in made] == pytest.approx(margins, abs=MARGIN)
    assert "and `vllm_maxlen` leaves 500 beside the reply. Raise it." in too_long


def test_a_recipe(demo: Demo, tmp_path: Path) -> None:
    """The same weights by both backends; what was asked by one is not gone on with by the other."""
    keys = build("qwen2_5_vl", tmp_path / "model", corpus(demo))
    link_videos(tmp_path / "media", sorted((demo.data / "videos").glob("*.mp4")))
    models: dict[str, dict[str, Any]] = {"host": {}, "vllm": ENGINE}
    changes = {**keys, "max_new_tokens": TOKENS}
    command = ["-m", "vistadpo_plugin.commands.evaluate"]
    done = run([*command, write_recipe(tmp_path, models=models, **changes)])
    assert done.returncode == 0, done.stdout[-6000:]

    lines, settings = {}, {}
    for model in models:
        folder = tmp_path / "out" / NAME / model
        lines[model] = [json.loads(line) for line in (folder / "replies.jsonl").read_text().splitlines()]
        settings[model] = json.loads((folder / "settings.json").read_text())
    assert [line["id"] for line in lines["vllm"]] == IDS
    assert [line["reply"] for line in lines["vllm"]] == [line["reply"] for line in lines["host"]]
    margins = [[line["yes_margin"] for line in lines[model]] for model in models]
    assert margins[1] == pytest.approx(margins[0], abs=MARGIN)
    assert settings["vllm"]["infer_backend"] == "vllm" and settings["vllm"]["versions"]["vllm"]
    assert not {"infer_backend", "vllm_maxlen"} & settings["host"].keys()
    assert "vllm" not in settings["host"]["versions"]

    done = run([*command, "score", write_recipe(tmp_path, models={"host": {}, "vllm": {}}, **changes)])
    assert done.returncode == 1
    assert "out/eventhallusion/vllm were made with other settings (infer_backend: 'vllm' there, nothing here" in (
        done.stdout
    )


def test_in_half_precision_it_is_as_near_as_the_host(demo: Demo, tmp_path: Path) -> None:
    """What tests/gpu asks of 200 questions is not run there for the first time."""
    within_the_spread(demo, tmp_path, 24)
