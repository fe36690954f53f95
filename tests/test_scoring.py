"""The scorer against a direct transformers forward on the same pixels, one unpadded sequence at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from capture import FirstBatch
from conftest import FRAME_TOKENS, Demo, run_recipe, write_rows
from truth import answer_distributions, log_prob

from vistadpo_plugin.scoring import score


def sequences_with_pixels(batch: dict[str, Any]) -> dict[int, torch.Tensor]:
    """Pixels (frames, 3, h, w) of every sequence of a batch, by its number."""
    return {
        number: group["pixel_values_videos"][place]
        for group in batch["groups"]
        for place, number in enumerate(group["sequence"].tolist())
    }


def answers_by_sequence(batch: dict[str, Any], rows: list[dict[str, Any]]) -> dict[int, tuple[dict, str]]:
    """(row, field of the answer) of every sequence, from the layout the batch documents."""
    fields = {
        "response": ("chosen", "rejected", "rejected_irrelevant"),
        "video": ("chosen", "chosen"),
        "clip": ("chosen", "chosen"),
        "object": ("chosen", "chosen"),
        "token": ("chosen", "rejected"),
    }
    found = {}
    for term, scored in batch["terms"].items():
        for place, numbers in zip(scored["row"].tolist(), scored["sequences"].tolist(), strict=True):
            row = rows[batch["rows"][place].item()]
            for number, field in zip(numbers, fields[term], strict=True):
                if number >= 0:
                    found[number] = (row, field)
    return found


@pytest.mark.parametrize("batch_size", [1, 3])
def test_log_probs_equal_a_direct_forward(demo: Demo, recipe: dict[str, Any], tmp_path: Any, batch_size: int) -> None:
    """Video, clip and keyframe views; answers of very different length in the ragged batch of 3."""

    rows = demo.rows[:3]
    rows[1] = {**rows[1], "chosen": rows[1]["chosen"] * 4, "rejected": "No."}
    write_rows(tmp_path / "rows", rows)
    seen = {}

    def look(model: Any, batch: dict[str, Any]) -> None:
        scores = score(model, batch["groups"])
        seen.update(batch=batch, model=model, scores=scores)

    recipe.update(dataset="rows", dataset_dir=str(tmp_path / "rows"), per_device_train_batch_size=batch_size)
    recipe.update(disable_shuffling=True, max_steps=1)
    run_recipe(recipe, FirstBatch(look))

    from transformers import AutoModelForImageTextToText, AutoTokenizer

    model = AutoModelForImageTextToText.from_pretrained(demo.model)
    tokenizer = AutoTokenizer.from_pretrained(demo.model)
    pixels = sequences_with_pixels(seen["batch"])
    expected = {}
    for number, (row, field) in answers_by_sequence(seen["batch"], rows).items():
        tokens = len(pixels[number]) * FRAME_TOKENS
        expected[number] = log_prob(
            *answer_distributions(model, tokenizer, row["prompt"], row[field], pixels[number], tokens)
        )
    # 9 answers a full row: 3 on the full video, 1 each on v-, c+, c-, f-, and 2 on f+.
    assert len(expected) == len(seen["scores"].log_probs) == 9 * batch_size
    actual = seen["scores"].log_probs.double()
    truth = torch.tensor([expected[number] for number in range(len(expected))], dtype=torch.float64)
    torch.testing.assert_close(actual, truth, atol=5e-4, rtol=1e-5)


def test_views_differ(demo: Demo, recipe: dict[str, Any]) -> None:
    """A control: the same answer on the row's nine sequences' views must differ, or the test above is blind."""

    seen: dict[str, Any] = {}
    recipe.update(disable_shuffling=True, max_steps=1, per_device_train_batch_size=1)
    run_recipe(recipe, FirstBatch(lambda model, batch: seen.update(batch=batch, scores=score(model, batch["groups"]))))
    terms, log_probs = seen["batch"]["terms"], seen["scores"].log_probs
    for term in ("video", "clip", "object"):
        plus, minus = log_probs[terms[term]["sequences"][0]]
        assert abs(plus - minus) > 1e-3, term


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_keep_their_order_across_groups(dtype: torch.dtype) -> None:
    """Groups hold sequences 2, 0 and 1; the scores come back as 0, 1, 2, in float32 whatever the model computes in.

    The stand-in model gives token k of a 4-word vocabulary logits that favour word 1 by log 3: p(1) = 3/6, others 1/6.
    """

    log_3 = torch.tensor(3.0).log().to(dtype).float()  # what bfloat16 makes of it is exact in float32

    class Favourite(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
            logits = torch.zeros(*input_ids.shape, 4)
            logits[..., 1] = log_3
            return type("Output", (), {"logits": logits.to(dtype)})

    def group(numbers: list[int], labels: list[list[int]]) -> dict[str, torch.Tensor]:
        return {"sequence": torch.tensor(numbers), "input_ids": torch.tensor(labels), "labels": torch.tensor(labels)}

    groups = [group([2, 0], [[-100, 1, 1], [-100, 0, -100]]), group([1], [[-100, 1, 2]])]
    scores = score(Favourite(), groups, distributions={1})
    half, sixth = log_3 - (log_3.exp() + 3).log(), -(log_3.exp() + 3).log()
    torch.testing.assert_close(scores.log_probs, torch.stack([sixth, half + sixth, 2 * half]))
    assert scores.tokens.tolist() == [1, 2, 2]
    assert list(scores.distributions) == [1]
    torch.testing.assert_close(scores.distributions[1][0], torch.stack([sixth, half, sixth, sixth]))
