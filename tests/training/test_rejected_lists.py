"""Rows whose `rejected` is a list: from JSON to loss, packed, separate and cached, and in plain DPO."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capture import Pass, record_scores
from conftest import Demo, Run, keep_log, run_recipe, tiny_recipe, write_rows
from rounding import NATS, WHOLE_LOSS

LISTS = [
    {"rejected": ["one.", "two two.", "three three three."], "rejected_weights": [0.5, 0.3, 0.2]},
    {"rejected": ["one.", "two two."], "rejected_irrelevant": None},
    {"rejected": "one."},
    {"rejected": ["three three three."], "rejected_irrelevant": None},
]
# What each answer's log-ratio counts in the margin, by hand.
SHARES: list[dict[str, float]] = [
    {"rejected": 0.7 * 0.5, "rejected[1]": 0.7 * 0.3, "rejected[2]": 0.7 * 0.2, "irrelevant": 0.3},
    {"rejected": 0.5, "rejected[1]": 0.5},
    {"rejected": 0.7, "irrelevant": 0.3},
    {"rejected": 1.0},
]


def rows_of(demo: Demo) -> list[dict[str, Any]]:
    """Four complete rows of four videos, of which three have lists."""
    return [{**row, **change} for row, change in zip(demo.rows[:4], LISTS, strict=True)]


@pytest.fixture(scope="module")
def listed(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lists")
    write_rows(folder / "data", rows_of(demo))
    steps = {"max_steps": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "disable_shuffling": True}
    # With a cache mates are drawn once, without one every epoch, which is one step here: no view is a mate's.
    steps["vista_video_negative"] = "reverse"
    return {**tiny_recipe(demo, folder / "out"), **steps, "dataset": "rows", "dataset_dir": str(folder / "data")}


@pytest.fixture
def learn(listed: dict[str, Any], tmp_path: Path) -> Callable[..., Run]:
    def run(name: str, **changes: Any) -> Run:
        return run_recipe({**listed, "output_dir": str(tmp_path / name), **changes})

    return run


def margins_by_hand(policy: Pass) -> list[float]:
    """Of every row of a batch, from what was scored under which name."""
    delta = (policy.scores.log_probs - policy.reference.log_probs).tolist()
    ratios = {name: delta[number] for number, name in enumerate(policy.batch["names"])}
    return [
        ratios[place, "full/chosen"] - sum(share * ratios[place, f"full/{name}"] for name, share in shares.items())
        for place, shares in enumerate(SHARES)
    ]


def test_the_margin_is_the_weighted_sum_and_starts_at_0(
    learn: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Policy = reference: 2.7 * log 2. After that the margin by hand, of exactly the answers that the rows have."""
    passes = record_scores(monkeypatch)
    run = learn("out")
    assert run.log[0]["loss"] == pytest.approx(2.7 * math.log(2), abs=1e-4)
    policy = [one for one in passes if one.reference is not None]
    for one, entry in zip(policy, run.figures, strict=True):
        hand = margins_by_hand(one)
        assert entry["vista/response_margin"] == pytest.approx(sum(hand) / 4, abs=NATS)
        assert entry["rewards/margins"] == pytest.approx(0.1 * sum(hand) / 4, abs=NATS)
        assert entry["vista/response_loss"] == pytest.approx(
            sum(math.log1p(math.exp(-0.1 * margin)) for margin in hand) / 4, abs=1e-5
        )
    assert min(map(abs, hand)) > 0.1  # three steps on, every row's margin says something
    for place, shares in enumerate(SHARES):
        named = {name for row, name in policy[0].batch["names"] if row == place}
        on_video = {name.removeprefix("full/") for name in named if name.startswith("full/")}
        assert on_video == {"chosen", *shares}
        assert not [name for name in named if name.endswith("]") and not name.startswith("full/")]


def test_packed_separate_and_cached_are_one_run(learn: Callable[..., Run], tmp_path: Path) -> None:
    packed = learn("packed").figures
    for name, keys in {
        "separate": {"vista_prefix_sharing": False},
        "cached": {"vista_reference_cache": str(tmp_path / "cache")},
    }.items():
        for one, other in zip(learn(name, **keys).figures, packed, strict=True):
            assert one == pytest.approx(other, abs=NATS), name
            assert one["loss"] == pytest.approx(other["loss"], abs=WHOLE_LOSS)


def test_the_cache_knows_answers_and_not_their_weights(
    demo: Demo, learn: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other weights ask the reference nothing; another answer in one list asks for that row."""
    cache = {"vista_reference_cache": str(tmp_path / "cache"), "max_steps": 1}
    before = learn("before", **cache).figures
    rows = rows_of(demo)
    rows[0]["rejected_weights"] = [0.1, 0.2, 0.7]
    write_rows(tmp_path / "weighed", rows)
    rows[1]["rejected"] = ["one.", "another one."]
    write_rows(tmp_path / "answered", rows)
    with keep_log([]) as said:
        learn("weighed", **cache, dataset_dir=str(tmp_path / "weighed"))
        learn("answered", **cache, dataset_dir=str(tmp_path / "answered"))
    known = [line.split(": ")[1] for line in said if "rows known" in line]
    assert known == ["4 of 4 rows known, 0 to compute.", "3 of 4 rows known, 1 to compute."]
    assert before[0]["loss"] == pytest.approx(2.7 * math.log(2), abs=1e-4)


def test_rows_with_more_answers_may_come_late(demo: Demo, learn: Callable[..., Run], tmp_path: Path) -> None:
    """The host processes rows in batches, and the first settles the types of columns: here one without any of them."""
    rows = [{**row, "rejected_irrelevant": None, "rejected": "one."} for row in demo.rows[:4]]
    write_rows(tmp_path / "late", rows + rows_of(demo))
    run = learn("late", dataset_dir=str(tmp_path / "late"), preprocessing_batch_size=4, max_steps=1)
    assert run.log[0]["loss"] == pytest.approx(2.7 * math.log(2), abs=1e-4)


def test_plain_dpo_takes_the_first(demo: Demo, learn: Callable[..., Run], tmp_path: Path) -> None:
    firsts = [row["rejected"] if isinstance(row["rejected"], str) else row["rejected"][0] for row in rows_of(demo)]
    rows = [
        {name: value for name, value in {**row, "rejected": first}.items() if name != "rejected_weights"}
        for row, first in zip(rows_of(demo), firsts, strict=True)
    ]
    write_rows(tmp_path / "firsts", rows)
    keys = {"stage": "dpo", "vista_video_negative": "other"}
    losses = [
        learn("list", **keys).series("loss"),
        learn("first", **keys, dataset_dir=str(tmp_path / "firsts")).series("loss"),
    ]
    assert losses[0] == losses[1] and losses[0][0] != losses[0][1]


def test_an_answer_of_a_list_that_does_not_fit_is_found_before_the_first_step(
    demo: Demo, learn: Callable[..., Run], tmp_path: Path
) -> None:
    rows = rows_of(demo)
    rows[1]["rejected"] = ["one.", "two " * 600]
    write_rows(tmp_path / "long", rows)
    with pytest.raises(ValueError, match="1 of 4 rows .* cannot be used:\n.*:2 .*`cutoff_len` is 512"):
        learn("long", dataset_dir=str(tmp_path / "long"))


def test_the_probe_scores_all_of_a_list(listed: dict[str, Any], demo: Demo) -> None:
    """Its level `relevant` is of the first."""
    from vistadpo_plugin.evaluation.probe.measure import run_probe

    data = str(Path(listed["dataset_dir"]) / "rows.jsonl")
    wanted = ("model_name_or_path", "template", "media_dir", "video_maxlen", "cutoff_len", "use_cpu")
    found = run_probe(data, {name: listed[name] for name in wanted})
    first = found.rows[0]
    assert list(first.tokens) == ["chosen", "rejected", "irrelevant", "rejected[1]", "rejected[2]"]
    said = first.log_probs["base"]
    assert {"full/rejected", "full/rejected[1]", "full/rejected[2]"} <= said.keys()
    assert first.margins["base"]["relevant"] == said["full/chosen"] - said["full/rejected"]
    assert json.dumps(first.tokens)
