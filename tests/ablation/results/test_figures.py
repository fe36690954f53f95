"""Figures of a model: the benchmark's own values, and replicates that are its own rule on repeated questions."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eventhallusion_made import write_annotations

from vistadpo_plugin.ablation.results.figures import SplitFigures
from vistadpo_plugin.ablation.results.statistics import draw_weights
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.benchmarks.videohallucer import SUBSETS
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.rank import rank_figures
from vistadpo_plugin.evaluation.replies import append_replies, known_margins

REPLICATES = 25


def videohallucer(pairs: dict[str, int]) -> list[Question]:
    asked = []
    for subset, count in pairs.items():
        for index in range(count):
            for side, answer in (("basic", "yes"), ("hallucination", "no")):
                details = {"pair": f"{subset}/{index}", "side": side, "truth": f"{answer.title()}."}
                asked.append(Question(f"{subset}/{index}/{side}", "v", "?", answer, subset, details))
    return asked


def write_replies(folder: Path, questions: list[Question], seed: int) -> dict[str, str]:
    rng = random.Random(seed)
    replies = {question.id: rng.choice(["Yes.", "No.", "Well"]) for question in questions}
    folder.mkdir(parents=True)
    append_replies(folder / "replies.jsonl", replies.items(), {id_: rng.gauss(0, 1) for id_ in replies})
    return replies


@pytest.mark.parametrize("name", ["videohallucer", "shapes", "eventhallusion"])
def test_replicates_are_the_benchmarks_own_score_of_what_was_drawn(name: str, tmp_path: Path) -> None:
    """Drawn pairs and questions, copied as often as they were drawn under new ids, are scored by the rule itself."""
    if name != "eventhallusion":  # a total is the mean of the subsets, however many pairs each has
        asked = dict(zip(SUBSETS, (7, 2, 3, 5, 4), strict=True))
        questions = videohallucer(asked if name == "videohallucer" else {"presence": 5, "order": 3})
        units = [questions[i : i + 2] for i in range(0, len(questions), 2)]
    else:
        questions = BENCHMARKS[name].questions(write_annotations(tmp_path / "asked"))
        units = [[question] for question in questions]
    replies = write_replies(tmp_path / name / "m", questions, 1)
    found = SplitFigures({name: questions}, False, tmp_path, REPLICATES).of("m")
    whole = BENCHMARKS[name].score(questions, replies).figures
    expected = {f"{name}/{figure}" for figure, one in whole.items() if one.value is not None}
    known = known_margins(tmp_path / name / "m" / "replies.jsonl")
    ranked = rank_figures(questions, known)
    assert {figure.rpartition("/")[0] for figure in ranked} == {*(one.subset for one in questions), ""}
    assert found.keys() == expected | {f"{name}/{figure}" for figure in ranked}
    weights = draw_weights([unit[0].subset for unit in units], REPLICATES, 0).astype(int)
    for place, drawn in enumerate(weights):
        copies, said = [], {}
        for unit, count in zip(units, drawn, strict=True):
            for copy in range(count):
                for question in unit:
                    details = dict(question.details)
                    if "pair" in details:
                        details["pair"] += f"#{copy}"
                    copies.append(replace(question, id=f"{question.id}#{copy}", details=details))
                    said[copies[-1].id] = replies[question.id]
        again = BENCHMARKS[name].score(copies, said).figures
        margins = {copy.id: known[copy.id.partition("#")[0]] for copy in copies}
        again = {**again, **rank_figures(copies, margins)}
        for figure, one in {**whole, **ranked}.items():
            if one.value is not None:
                assert found[f"{name}/{figure}"].value == pytest.approx(one.value)
                value = again[figure].value if figure in again else None
                replicate = found[f"{name}/{figure}"].replicates[place]
                assert np.isnan(replicate) if value is None else replicate == pytest.approx(value), figure


def test_margins_of_the_probe(tmp_path: Path) -> None:
    """Means over the rows that have the level; a row without it draws nothing."""
    rows = [
        {"margins": {"video": 1.0, "clip": 4.0}, "log_probs": {"full/chosen": -3.0}},
        {"margins": {"video": 3.0}, "log_probs": {"full/chosen": -5.0}},
    ]
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "m.json").write_text(json.dumps({"rows": rows}))
    found = SplitFigures({}, True, tmp_path, 200).of("m")
    assert {name: one.value for name, one in found.items()} == {
        "probe/video": 2.0, "probe/clip": 4.0, "probe/log p(y_w)": -4.0
    }  # fmt: skip
    assert set(found["probe/video"].replicates) == {1.0, 2.0, 3.0}
    clip = found["probe/clip"].replicates
    assert set(clip[~np.isnan(clip)]) == {4.0}


def test_the_choice_is_of_rows_whose_chosen_answer_beats_all_others(tmp_path: Path) -> None:
    """First of two, second of two, better than the only one, a tie, and a row without another answer."""
    margins = [
        {"relevant": 2.0, "irrelevant": 0.1}, {"relevant": 3.0, "irrelevant": -0.1}, {"irrelevant": 5.0},
        {"relevant": 0.0}, {"video": -1.0},
    ]  # fmt: skip
    (tmp_path / "probe").mkdir()
    rows = [{"margins": one, "log_probs": {}} for one in margins]
    (tmp_path / "probe" / "m.json").write_text(json.dumps({"rows": rows}))
    choice = SplitFigures({}, True, tmp_path, 200).of("m")["probe/choice"]
    assert (choice.value, choice.unit) == (50.0, "%")
    assert choice.replicates.min() >= 0 and choice.replicates.max() <= 100


def test_replies_made_elsewhere_have_no_rank(tmp_path: Path) -> None:
    questions = BENCHMARKS["eventhallusion"].questions(write_annotations(tmp_path / "asked"))
    folder = tmp_path / "eventhallusion" / "m"
    folder.mkdir(parents=True)
    append_replies(folder / "replies.jsonl", ((question.id, "yes") for question in questions))
    found = SplitFigures({"eventhallusion": questions}, False, tmp_path, 5).of("m")
    assert "eventhallusion/overall" in found and "eventhallusion/rank" not in found
