"""The scorer against a direct transformers forward on the same pixels, one unpadded sequence at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from capture import FirstBatch, Gradients, record_scores
from conftest import FRAME_TOKENS, Demo, run_recipe, write_rows
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutput
from truth import answer_distributions, log_prob

from vistadpo_plugin.data.batches.groups import Bundle, separate_groups
from vistadpo_plugin.data.batches.groups import Sequence as TokenSequence
from vistadpo_plugin.scoring import view_features
from vistadpo_plugin.scoring.scorer import ReferenceScores, Scorer
from vistadpo_plugin.scoring.view_features import Encoded


def views_of_sequences(batch: dict[str, Any]) -> dict[int, int]:
    """Number of the view that every sequence is shown, by the number of the sequence, from where its answer stands.

    A packed row is a root, then trunk and branches of a tree a view; a separate row has one view. The names must agree:
    within a row of the data one view name is one view and different names are different views.
    """
    found: dict[int, int] = {}
    for group in batch["groups"]:
        places = group["answers"]["row"]
        if "forest" in group:
            root, *parts = group["forest"]["lengths"]
            ends = root + torch.tensor([sum(pair) for pair in zip(parts[::2], parts[1::2], strict=True)]).cumsum(0)
            assert len(ends) == len(group["views"]) and ends[-1] == group["input_ids"].shape[1]
            places = torch.searchsorted(ends, group["answers"]["column"], right=True)
        for number, place in zip(group["answers"]["sequence"].tolist(), places.tolist(), strict=True):
            assert found.setdefault(number, group["views"][place]) == group["views"][place]
    named: dict[tuple[int, str], int] = {}
    for number, (row, name) in enumerate(batch["names"]):
        key = (row, name.split("/")[0])
        assert named.setdefault(key, found[number]) == found[number]
    for row in {row for row, _ in named}:
        shown = [view for (place, _), view in named.items() if place == row]
        assert len(set(shown)) == len(shown)
    return found


def sequences_with_pixels(batch: dict[str, Any]) -> dict[int, torch.Tensor]:
    """Pixels (frames, 3, h, w) of every sequence of a batch, by its number."""
    views = views_of_sequences(batch)
    return {number: batch["views"][view]["pixel_values_videos"][0] for number, view in views.items()}


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


@pytest.mark.parametrize(("batch_size", "sharing"), [(1, True), (3, True), (3, False)])
def test_log_probs_equal_a_direct_forward(
    demo: Demo,
    recipe: dict[str, Any],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    sharing: bool,
) -> None:
    """Video, clip and keyframe views; answers of very different length in the ragged batch of 3."""

    rows = demo.rows[:3]
    rows[1] = {**rows[1], "chosen": rows[1]["chosen"] * 4, "rejected": "No."}
    write_rows(tmp_path / "rows", rows)
    recipe.update(dataset="rows", dataset_dir=str(tmp_path / "rows"), per_device_train_batch_size=batch_size)
    recipe.update(disable_shuffling=True, max_steps=1, vista_prefix_sharing=sharing)
    passes = record_scores(monkeypatch)
    run_recipe(recipe)
    reference, policy = passes
    assert reference.batch is policy.batch
    assert all(("forest" in group) == sharing for group in policy.batch["groups"])

    from transformers import AutoModelForImageTextToText, AutoTokenizer

    model = AutoModelForImageTextToText.from_pretrained(demo.model)
    tokenizer = AutoTokenizer.from_pretrained(demo.model)
    pixels = sequences_with_pixels(policy.batch)
    expected = {}
    for number, (row, field) in answers_by_sequence(policy.batch, rows).items():
        tokens = len(pixels[number]) * FRAME_TOKENS
        expected[number] = log_prob(
            *answer_distributions(model, tokenizer, row["prompt"], row[field], pixels[number], tokens)
        )
    # 9 answers a full row: 3 on the full video, 1 each on v-, c+, c-, f-, and 2 on f+.
    assert len(expected) == 9 * batch_size
    truth = torch.tensor([expected[number] for number in range(len(expected))], dtype=torch.float64)
    for one in passes:  # at the first step the policy is the reference
        torch.testing.assert_close(one.scores.log_probs.detach().double(), truth, atol=5e-4, rtol=1e-5)


def test_views_are_what_their_names_say(recipe: dict[str, Any]) -> None:
    """Three rows, each built alone from its files: the batch shows that view's pixels under that view's name."""
    seen: dict[str, Any] = {}
    recipe.update(disable_shuffling=True, max_steps=1, per_device_train_batch_size=3)
    look = FirstBatch(lambda model, batch: seen.update(batch=batch))
    run_recipe(recipe, look)
    batch, rows, collator = seen["batch"], look.loader.dataset, look.loader.collate_fn
    pixels, mates = sequences_with_pixels(batch), rows.mates()
    compared = 0
    for number, (place, name) in enumerate(batch["names"]):
        row, view = int(batch["rows"][place]), name.split("/")[0]
        frames = collator.views.build(rows.grounded[row], rows.grounded[mates[row]], {view})[view]
        expected = collator.processor.video_processor([np.stack(frames)], return_tensors="pt")["pixel_values_videos"]
        torch.testing.assert_close(pixels[number], expected[0])
        compared += 1
    assert compared == 27


def test_views_differ(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: the same answer on the row's nine sequences' views must differ, or the tests above are blind."""
    passes = record_scores(monkeypatch)
    run_recipe({**recipe, "disable_shuffling": True, "max_steps": 1, "per_device_train_batch_size": 1})
    terms, log_probs = passes[0].batch["terms"], passes[0].scores.log_probs
    for term in ("video", "clip", "object"):
        plus, minus = log_probs[terms[term]["sequences"][0]]
        assert abs(plus - minus) > 1e-3, term


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_keep_their_order_across_groups(dtype: torch.dtype) -> None:
    """Groups hold sequences 2, 0 and 1; the scores come back as 0, 1, 2, in float32 whatever the model computes in.

    The stand-in model gives every token of a 4-word vocabulary logits that favour word 1 by log 3: p(1) = 3/6, others
    1/6. Against a uniform reference D = log((3 + 3) / 4) - log(3) / 4 a position, for sequence 1 alone.
    """
    log_3 = torch.tensor(3.0).log().to(dtype).float()  # what bfloat16 makes of it is exact in float32

    class Favourite(torch.nn.Module):
        config = type("Config", (), {"get_text_config": lambda self: type("Text", (), {"vocab_size": 4})})()

        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(1, 4, dtype=dtype)
            with torch.no_grad():
                self.head.weight.zero_()
                self.head.bias.copy_(torch.tensor([0, log_3, 0, 0]))

        def get_decoder(self) -> None:
            return None

        def get_output_embeddings(self) -> torch.nn.Module:
            return self.head

        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
            return type("Output", (), {"logits": self.head(torch.zeros(*input_ids.shape, 1, dtype=dtype))})

    def group(
        rows: list[int], columns: list[int], tokens: list[int], numbers: list[int], term: list[int], outside: list[int]
    ) -> Any:
        others = [place for place in range(len(rows)) if place not in term]
        places = [numbers[:index].count(number) for index, number in enumerate(numbers)]
        named = {"row": rows, "column": columns, "token": tokens, "sequence": numbers, "place": places}
        named |= {"token_term": term, "others": others}
        answers = {name: torch.tensor(values, dtype=torch.long) for name, values in named.items()}
        answers["outside"] = torch.tensor([place in outside for place in range(len(rows))])
        return {"input_ids": torch.zeros(2, 3, dtype=torch.long), "views": [], "answers": answers}

    batch = {
        "sequences": 3,
        "views": [],
        "groups": [
            group([0, 0, 1], [0, 1, 0], [1, 1, 0], [2, 2, 0], [], [1]),
            group([0, 0], [1, 2], [1, 2], [1, 1], [0, 1], [0, 1]),
        ],
    }
    model = Favourite()
    scorer = Scorer(model)
    scores = scorer(model, batch, Encoded())
    half, sixth = log_3 - (log_3.exp() + 3).log(), -(log_3.exp() + 3).log()
    assert scores.log_probs.dtype == scores.kl.dtype == torch.float32
    torch.testing.assert_close(scores.log_probs, torch.stack([sixth, half + sixth, 2 * half]))
    assert scores.tokens.tolist() == [1, 2, 2]
    assert scores.kl.tolist() == [0, 0, 0]
    of_outside = scores.singly.sum_outside(scores.singly.log_probs, 3)
    torch.testing.assert_close(of_outside, torch.stack([torch.tensor(0.0), half + sixth, half]))
    assert [tuple(states.shape) for states in scores.hidden] == [(0, 1), (2, 1)]

    reference = ReferenceScores(scores.log_probs, of_outside, scores.hidden, lambda hidden: torch.zeros(len(hidden), 4))
    kl = scorer(model, batch, Encoded(), reference).kl
    each = -torch.tensor(4.0).log() - (half + 3 * sixth) / 4
    torch.testing.assert_close(kl, torch.stack([torch.tensor(0.0), 2 * each, torch.tensor(0.0)]))


@pytest.mark.parametrize(
    ("batch_size", "a_row", "changes"), [(1, 6, {}), (2, 5, {}), (2, 5, {"vista_prefix_sharing": False})]
)
def test_a_view_is_encoded_once_for_all_answers_and_both_models(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, batch_size: int, a_row: int, changes: dict[str, Any]
) -> None:
    """Six views a row that is alone; mates that share a micro-batch are each other's unrelated video, so five each."""
    calls = count_encodes(monkeypatch)
    passes = record_scores(monkeypatch)
    run_recipe({**recipe, **changes, "max_samples": 2, "per_device_train_batch_size": batch_size, "max_steps": 1})
    assert len(passes) == 2 and passes[0].scores.log_probs.shape == (9 * batch_size,)
    assert len(calls) == len(passes[0].batch["views"]) == a_row * batch_size
    assert not any(calls), "frozen towers keep no graph"


def test_a_trained_projector_is_asked_by_both_models(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy's features carry gradients; the reference makes its own, of which six do not."""
    calls = count_encodes(monkeypatch)
    full = {"finetuning_type": "full", "freeze_multi_modal_projector": False, "learning_rate": 1e-5}
    args = {**recipe, **full, "max_samples": 2, "per_device_train_batch_size": 1, "max_steps": 1}
    gradients = Gradients()
    run_recipe({key: value for key, value in args.items() if not key.startswith("lora_")}, gradients)
    assert sorted(calls) == [False] * 6 + [True] * 6
    projector = [value for name, value in gradients.steps[0].items() if "multi_modal_projector" in name]
    assert len(projector) == 4 and all(value.abs().max() > 0 for value in projector)


def test_views_of_one_shape_go_through_the_tower_together(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row alone has six views: full, another's, clip and its negative with 8 frames, two keyframes with one. With 16
    frames at most in one run, 4 x 8 frames are two runs, and the keyframes one."""
    monkeypatch.setattr(view_features, "STACKED", 16)
    shapes: list[tuple[int, int]] = []
    from transformers import VideoLlavaModel

    encode = VideoLlavaModel.get_video_features

    def noted(self: Any, pixel_values_videos: torch.Tensor, **kwargs: Any) -> Any:
        shapes.append(tuple(pixel_values_videos.shape[:2]))
        return encode(self, pixel_values_videos, **kwargs)

    monkeypatch.setattr(VideoLlavaModel, "get_video_features", noted)
    run_recipe({**recipe, "max_samples": 2, "per_device_train_batch_size": 1, "max_steps": 1})
    assert sorted(shapes) == [(2, 1), (2, 8), (2, 8)]


def count_encodes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every video in Video-LLaVA's own tower and projector, whether it was encoded for a backward pass."""
    from transformers import VideoLlavaModel

    calls: list[bool] = []
    encode = VideoLlavaModel.get_video_features

    def counted(self: Any, pixel_values_videos: torch.Tensor, **kwargs: Any) -> Any:
        output = encode(self, pixel_values_videos, **kwargs)
        calls.extend([output.pooler_output[0].requires_grad] * len(pixel_values_videos))
        return output

    monkeypatch.setattr(VideoLlavaModel, "get_video_features", counted)
    return calls


def in_place(logits: torch.Tensor) -> torch.Tensor:
    return logits.mul_(0.5)


def scaled(logits: torch.Tensor) -> torch.Tensor:
    return logits / 30


def capped(*changes: Any) -> Any:
    """A text model that does something to what its head returns, statement by statement: `logits = change(logits)`."""

    class Capped(LlamaForCausalLM):
        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
            logits = self.lm_head(self.model(input_ids).last_hidden_state)
            for change in changes:
                logits = change(logits)
            return CausalLMOutput(logits=logits)

    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    return Capped(config)


def text_batch() -> dict[str, Any]:
    sequences = [TokenSequence([3, 4], [5, 6], None)]
    bundle = Bundle([0], None, (), 0, torch.arange(3).unsqueeze(0))
    return {"sequences": 1, "views": [], "groups": separate_groups(sequences, [bundle], set(), 0)}


@pytest.mark.parametrize(
    "changes",
    [[scaled], [scaled, torch.tanh, scaled], [in_place]],
    ids=["scale", "soft cap", "in place"],
)
def test_a_model_that_changes_its_heads_output_is_refused(changes: list[Any]) -> None:
    model = capped(*changes)
    with torch.no_grad(), pytest.raises(ValueError, match="Capped changes what its output head returns"):
        Scorer(model)(model, text_batch(), Encoded())


def test_a_model_that_leaves_it_alone_is_not() -> None:
    model = capped()
    scores = Scorer(model)(model, text_batch(), Encoded())
    logits = LlamaForCausalLM.forward(model, torch.tensor([[3, 4, 5]])).logits[0].log_softmax(-1)
    torch.testing.assert_close(scores.log_probs[0], logits[1, 5] + logits[2, 6])
