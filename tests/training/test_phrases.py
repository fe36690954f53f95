"""Rows whose answers have `phrases`: from JSON to loss, packed, separate and cached."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import Pass, record_scores
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe, write_rows
from rounding import NATS, WHOLE_LOSS

from vistadpo_plugin.scoring.scorer import AnswerTokens, ReferenceScores, Scores
from vistadpo_plugin.training.objective import Objective

ANSWERS = {
    "chosen": "a red mug is on the table.",
    "rejected": ["a blue mug is on the table.", "a red mug is on the bed."],
    "rejected_irrelevant": "a dog runs.",
}
MARKED = {"chosen": ["red", "table"], "rejected": [[2, 6]], "rejected[1]": ["bed"]}
# Of each marked answer the words that count, by hand.
WORDS = {"chosen": {"red", "table"}, "rejected": {"blue"}, "rejected[1]": {"bed"}}


def rows_of(demo: Demo) -> list[dict[str, Any]]:
    """Four complete rows of four videos; the second has no phrases."""
    rows = [{**row, **ANSWERS, "phrases": MARKED} for row in demo.rows[:4]]
    del rows[1]["phrases"]
    return rows


@pytest.fixture(scope="module")
def recipe(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("phrases")
    write_rows(folder / "data", rows_of(demo))
    steps = {"max_steps": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "disable_shuffling": True}
    steps["vista_video_negative"] = "reverse"  # as with a cache: no view is a mate's
    keys = {"dataset": "rows", "dataset_dir": str(folder / "data"), "vista_outside_phrases": 0.0}
    return {**tiny_recipe(demo, folder / "out"), **steps, **keys}


@pytest.fixture
def learn(recipe: dict[str, Any], tmp_path: Path) -> Callable[..., Run]:
    def run(name: str, **changes: Any) -> Run:
        return run_recipe({**recipe, "output_dir": str(tmp_path / name), **changes})

    return run


def words_by_hand(tokenizer: Any, policy: Pass, reference: Pass) -> list[dict[str, list[tuple[str, float]]]]:
    """Of every row, by sequence, its answer tokens' log-ratios one by one, each with the word that it ends in."""
    found: list[dict[str, list[tuple[str, float]]]] = [{} for _ in policy.batch["rows"]]
    tokens = torch.cat([group["answers"]["token"] for group in policy.batch["groups"]])
    delta = policy.scores.singly.log_probs.detach() - reference.scores.singly.log_probs
    for number, (place, name) in enumerate(policy.batch["names"]):
        own = policy.scores.singly.sequence == number
        pieces = [tokenizer.decode([token]) for token in tokens[own]]
        text, end = "".join(pieces), 0
        words = {index: one.group() for one in re.finditer(r"\w+|[.]|</s>", text) for index in range(*one.span())}
        found[place][name] = []
        for piece, ratio in zip(pieces, delta[own].tolist(), strict=True):
            end += len(piece)
            found[place][name].append((words.get(end - 1, " "), ratio))
    return found


def margins_by_hand(rows: list[dict[str, list[tuple[str, float]]]]) -> dict[str, list[float]]:
    """Of the response and the video term, from the words that `WORDS` names, all words in the row without phrases."""

    def ratio(place: int, name: str) -> float:
        counted = None if place == 1 else WORDS.get(name.split("/")[1])
        return sum(value for word, value in rows[place][name] if counted is None or word in counted)

    response, video = [], []
    for place in range(4):
        wrong = 0.5 * ratio(place, "full/rejected") + 0.5 * ratio(place, "full/rejected[1]")
        wrong = 0.7 * wrong + 0.3 * ratio(place, "full/irrelevant")
        response.append(ratio(place, "full/chosen") - wrong)
        video.append(ratio(place, "full/chosen") - ratio(place, "video_negative/chosen"))
    return {"response": response, "video": video}


def test_margins_are_those_of_the_words_that_are_marked(
    learn: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    """Policy = reference: 2.7 * log 2. After that the words of the phrases, picked out by hand."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(recipe["model_name_or_path"])
    passes = record_scores(monkeypatch)
    with keep_log([]) as said:
        run = learn("out")
    assert "3 of 4 rows have `phrases`" in "\n".join(said)
    assert run.log[0]["loss"] == pytest.approx(2.7 * math.log(2), abs=1e-4)
    for reference, policy, entry in zip(passes[::2], passes[1::2], run.figures, strict=True):
        assert reference.reference is None and policy.reference is not None
        rows = words_by_hand(tokenizer, policy, reference)
        words = list(dict.fromkeys(word for word, _ in rows[0]["full/chosen"] if word != " "))
        assert words == ["a", "red", "mug", "is", "on", "the", "table", ".", "</s>"]
        for term, hand in margins_by_hand(rows).items():
            assert entry[f"vista/{term}_margin"] == pytest.approx(sum(hand) / 4, abs=NATS)
            losses = [math.log1p(math.exp(-0.1 * margin)) for margin in hand]
            assert entry[f"vista/{term}_loss"] == pytest.approx(sum(losses) / 4, abs=1e-5)
    assert min(map(abs, hand)) > 0.01


def test_packed_separate_and_cached_are_one_run(learn: Callable[..., Run], tmp_path: Path) -> None:
    packed = learn("packed").figures
    for name, keys in {
        "separate": {"vista_prefix_sharing": False},
        "cached": {"vista_reference_cache": str(tmp_path / "cache")},
    }.items():
        for one, other in zip(learn(name, **keys).figures, packed, strict=True):
            assert one == pytest.approx(other, abs=NATS), name
            assert one["loss"] == pytest.approx(other["loss"], abs=WHOLE_LOSS)


def test_the_cache_knows_phrases_and_not_what_is_outside_of_them_worth(
    demo: Demo, learn: Callable[..., Run], tmp_path: Path
) -> None:
    """Another weight asks the reference nothing, and trains as without a cache; other phrases ask for their row."""
    cache = {"vista_reference_cache": str(tmp_path / "cache"), "max_steps": 2}
    rows = rows_of(demo)
    rows[0]["phrases"] = {**MARKED, "chosen": ["mug"]}
    write_rows(tmp_path / "other", rows)
    with keep_log([]) as said:
        learn("filling", **cache)
        half = learn("half", **cache, vista_outside_phrases=0.5).figures
        whole = learn("whole", **cache, vista_outside_phrases=1.0).figures
        learn("other", **cache, dataset_dir=str(tmp_path / "other"))
    known = [line.split(": ")[1] for line in said if "rows known" in line]
    assert known[0].startswith("0 of 4") and known[3].startswith("3 of 4")
    assert known[1] == known[2] == "4 of 4 rows known, 0 to compute."
    assert any("`phrases` of 3 rows are ignored: `vista_outside_phrases` is 1." in line for line in said)
    for cached, weight in ((half, 0.5), (whole, 1.0)):
        for one, other in zip(
            cached, learn(f"live-{weight}", max_steps=2, vista_outside_phrases=weight).figures, strict=True
        ):
            assert one == pytest.approx(other, abs=NATS)
    assert abs(half[1]["vista/response_margin"] - whole[1]["vista/response_margin"]) > 0.01


def test_at_1_the_loss_is_that_of_rows_without_phrases(demo: Demo, learn: Callable[..., Run], tmp_path: Path) -> None:
    write_rows(tmp_path / "plain", [{**row, **ANSWERS} for row in demo.rows[:4]])
    plain = learn("plain", dataset_dir=str(tmp_path / "plain"), vista_outside_phrases=1.0).figures
    assert learn("marked", vista_outside_phrases=1.0).figures == plain
    with keep_log([]) as said:  # no phrases: all tokens count
        without = learn("none", dataset_dir=str(tmp_path / "plain")).figures
    assert without == plain
    assert any("No row has `phrases`: `vista_outside_phrases: 0` has no effect" in line for line in said)


@pytest.mark.parametrize(("kind", "margin"), [("sigmoid", 3.5 - 1.5), ("ipo", 3.5 / 1.5 - 1.5 / 3)])
def test_log_ratios_by_hand(vista: Callable[..., Any], kind: str, margin: float) -> None:
    """Three tokens gain 3, 1 and 1 nats, the first in a phrase; three gain 1, 0 and 0.5 in an answer without one.

    With weight 0.25 outside: 3 + 0.25 * (1 + 1) = 3.5, of which IPO takes the mean over 1 + 2 * 0.25 = 1.5 tokens.
    """
    gained = torch.tensor([3.0, 1.0, 1.0, 1.0, 0.0, 0.5])
    sequence, place = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2] * 2)
    singly = AnswerTokens(gained - 10, sequence, place, torch.tensor([False, True, True, False, False, False]))
    policy = Scores(torch.tensor([5.0, 1.5]) - 30, torch.tensor([3, 3]), torch.zeros(2), [], singly)
    reference = ReferenceScores(torch.full((2,), -30.0), torch.tensor([-20.0, 0.0]), [], None)
    batch = {"terms": {"video": {"row": torch.tensor([0]), "sequences": torch.tensor([[0, 1]])}}}
    found = Objective.of(vista(vista_outside_phrases=0.25), 0.1, kind, 0.0)(policy, reference, batch)["video"]
    assert found.margin.tolist() == pytest.approx([margin])
