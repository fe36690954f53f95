"""The positions from which a model with several axes answers in the host's chat: those it was trained at."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import FirstBatch
from conftest import Demo, run_recipe, tiny_recipe

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.evaluation.inference import Responder

FILES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")


@pytest.fixture(scope="module", params=FILES)
def keys(request: pytest.FixtureRequest, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    corpus = [str(value) for row in demo.rows for value in row.values()]
    folder = tmp_path_factory.mktemp(request.param) / "model"
    return importlib.import_module(f"tiny_families.{request.param}").build(folder, corpus)


def question(demo: Demo, number: int) -> tuple[str, GroundedRow]:
    row = demo.rows[number]
    return row["prompt"], GroundedRow("", "", str(demo.data / row["video"]))


def test_chat_answers_from_the_positions_of_training(demo: Demo, keys: dict[str, Any], tmp_path: Path) -> None:
    """Of the first row: the prompt's positions in plain DPO's batch, and in the first step of `generate`."""
    trained: dict[str, torch.Tensor] = {}

    def look(model: Any, batch: dict[str, Any]) -> None:
        answer = int((batch["labels"][0] >= 0).nonzero()[0])
        trained.update(positions=batch["position_ids"][:, 0, :answer], ids=batch["input_ids"][0, :answer])

    changes = {"stage": "dpo", "disable_shuffling": True, "max_steps": 1, "per_device_train_batch_size": 1}
    run_recipe({**tiny_recipe(demo, tmp_path / "out"), **keys, **changes}, FirstBatch(look))

    given: list[torch.Tensor] = []
    responder = Responder({**keys, "infer_dtype": "float32"}, max_new_tokens=4)
    language = responder.engine.model.model.language_model
    language.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["position_ids"]), with_kwargs=True
    )
    prepared = responder.prepare(*question(demo, 0))
    assert prepared["inputs"][0].tolist() == trained["ids"].tolist()
    responder.reply([prepared])
    prompt, step = given[0][-3:, 0], given[1][-3:, 0]
    assert torch.equal(prompt, trained["positions"][-3:])
    assert (prompt[0] != torch.arange(prompt.shape[1])).any()  # more than counting words
    assert step.tolist() == [[int(prompt.max()) + 1]] * 3


def test_a_batch_of_questions_is_answered_as_one_by_one(demo: Demo, keys: dict[str, Any]) -> None:
    responder = Responder({**keys, "infer_dtype": "float32"}, max_new_tokens=8)
    prepared = [responder.prepare(*question(demo, number)) for number in range(3)]
    together = responder.reply(prepared)
    assert responder.one_at_a_time is None
    assert together == [responder.reply([one])[0] for one in prepared]
