"""Qwen3.5: linear attention runs over whatever stands in a row, so rows are held to themselves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from capture import FirstBatch
from conftest import Demo, run_recipe, tiny_recipe
from peft import PeftModel
from tiny_families.qwen3_5 import build

THOUGHT = "<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def keys(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    corpus = [str(value) for row in demo.rows for value in row.values()]
    return build(tmp_path_factory.mktemp("qwen3_5") / "model", corpus)


def log_probs(model: Any, ids: torch.Tensor, positions: torch.Tensor, view: dict[str, Any]) -> torch.Tensor:
    """Of every token but the first, (tokens - 1,), in one unpadded row; no plugin code."""
    given = {name: view[name] for name in ("pixel_values_videos", "video_grid_thw")}
    logits = model(input_ids=ids[None], position_ids=positions, use_cache=False, **given).logits[0, :-1]
    return logits.double().log_softmax(-1).gather(1, ids[1:, None]).squeeze(1)


def test_a_padded_row_says_what_it_says_alone(demo: Demo, keys: dict[str, Any], tmp_path: Path) -> None:
    """Rows of unequal length in one batch, padded on the right; positions are those that transformers itself counts."""
    seen: dict[str, Any] = {}

    def look(model: PeftModel, batch: dict[str, Any]) -> None:
        base, config = model.get_base_model(), model.config
        seen["padded"] = 0
        with torch.no_grad():
            for group in batch["groups"]:
                assert "forest" not in group
                numbers = group["answers"]["sequence"].unique().tolist()
                shown = dict(zip(numbers, group["views"], strict=True))
                lengths = group["attention_mask"].sum(1).tolist()
                seen["padded"] += sum(length < max(lengths) for length in lengths)
                batched = base(
                    input_ids=group["input_ids"],
                    attention_mask=group["attention_mask"],
                    position_ids=group["position_ids"],
                    use_cache=False,
                    pixel_values_videos=torch.cat([batch["views"][v]["pixel_values_videos"] for v in group["views"]]),
                    video_grid_thw=torch.cat([batch["views"][v]["video_grid_thw"] for v in group["views"]]),
                ).logits
                for row, number in enumerate(numbers):
                    view, length = batch["views"][shown[number]], lengths[row]
                    ids = group["input_ids"][row, :length]
                    kinds = (ids == config.video_token_id).int() * 2
                    positions, _ = base.model.get_rope_index(
                        ids[None], kinds[None], video_grid_thw=view["video_grid_thw"]
                    )
                    assert torch.equal(group["position_ids"][1:, row : row + 1, :length], positions)
                    alone = log_probs(base, ids, positions, view)
                    found = batched[row, : length - 1].double().log_softmax(-1).gather(1, ids[1:, None]).squeeze(1)
                    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)

    recipe = {**tiny_recipe(demo, tmp_path / "out"), **keys, "max_steps": 1, "per_device_train_batch_size": 2}
    run_recipe(recipe, FirstBatch(look))
    assert seen["padded"] >= 4


@pytest.mark.parametrize(("template", "thinking"), [("qwen3_5", False), ("qwen3_5", True), ("qwen3_5_nothink", None)])
def test_thoughts_stand_where_the_host_puts_them(
    demo: Demo, keys: dict[str, Any], tmp_path: Path, template: str, thinking: bool | None
) -> None:
    """Prompt and chosen answer of the first row in both stages: with an empty thought before, in, or without one."""
    seen: dict[str, list[int]] = {}
    changes = {"template": template, "enable_thinking": thinking, "disable_shuffling": True, "max_steps": 1}
    recipe = {**tiny_recipe(demo, tmp_path / "out"), **keys, **changes, "per_device_train_batch_size": 1}

    def plain(model: Any, batch: dict[str, Any]) -> None:
        seen["row"] = batch["input_ids"][0][batch["attention_mask"][0].bool()].tolist()
        seen["answer"] = batch["labels"][0][batch["labels"][0] >= 0].tolist()

    def ours(model: Any, batch: dict[str, Any]) -> None:
        number = batch["names"].index((0, "full/chosen"))
        group = next(group for group in batch["groups"] if number in group["answers"]["sequence"])
        of_it = group["answers"]["sequence"] == number
        row = group["answers"]["row"][of_it][0]
        seen["ours"] = group["input_ids"][row][group["attention_mask"][row].bool()].tolist()
        seen["our answer"] = group["answers"]["token"][of_it].tolist()

    run_recipe({**recipe, "stage": "dpo"}, FirstBatch(plain))
    run_recipe(recipe, FirstBatch(ours))
    assert seen["our answer"] == seen["answer"]
    assert seen["ours"] == seen["row"][:-1]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(keys["model_name_or_path"])
    assert (THOUGHT in tokenizer.decode(seen["row"])) == (template == "qwen3_5")
    assert (THOUGHT in tokenizer.decode(seen["answer"])) == bool(thinking)
