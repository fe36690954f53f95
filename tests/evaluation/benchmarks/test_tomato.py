"""TOMATO: which replies its rule reads, what a judge decides, its prompt, and figures by hand."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.evaluation.benchmarks.tomato import KINDS, judged_letter, stated_choice, tomato

OPTIONS = ["2", "Left.", "NO 1"]


def official_choice(response: str, options: list[str]) -> str:
    """parse_result.py, pre_parser; "" where it finds none, as what is no option."""
    letters = [chr(65 + n) for n in range(len(options))]
    response = response.strip()
    found = ""
    match = re.match(r"^Answer is:?[\(]?([A-Fa-f])[\)]?$", response)
    if len(response) == 1 and response.upper() in letters:
        found = response.upper()
    elif response.upper() in [f"{letter}: {option}" for letter, option in zip(letters, options, strict=True)]:
        found = response[0].upper()
    elif match:
        found = match.group(1).upper()
    return found if found in letters else ""


def test_the_rule_is_the_official_one() -> None:
    parts = ["", "A", "b", "F", "A: 2", "a: 2", "B: Left.", "C: NO 1", "c: no 1", "Answer is", ":", "(", ")", " ", "A."]
    for length in (1, 2, 3, 4):
        for pieces in itertools.product(parts, repeat=length):
            reply = "".join(pieces)
            assert (stated_choice(reply, OPTIONS) or "") == official_choice(reply, OPTIONS), reply
    assert stated_choice("Answer is:(b)", OPTIONS) == "B" and stated_choice("Answer is A", OPTIONS) is None


def write(folder: Path) -> Path:
    """One question a kind, and a second of count; the answer is B, of the scenarios in turn."""
    for number, kind in enumerate(KINDS):
        entry = {
            "question": "How {many}?",
            "options": ["one", "it's two"],
            "answer": 1,
            "key": f"{number:04d}-00",
            "motion_type": kind,
            "demonstration_type": ("human", "object", "simulated")[number % 3],
        }
        entries = {"0": entry, "7": entry} if kind == "count" else {"0": entry}
        (folder / f"{kind}.json").write_text(json.dumps(entries))
    return folder


def test_questions(tmp_path: Path) -> None:
    first, second, *others = tomato.questions(write(tmp_path))
    assert (first.id, second.id, len(others)) == ("count/0", "count/7", 5)
    assert (first.video, first.answer, others[0].video) == ("human/0000-00.mp4", "B", "object/0001-00.mp4")
    asked = "<question> \nHow {many}? \n</question>\n\n<options> \n{'A': 'one', 'B': \"it's two\"} \n</options>"
    assert asked in first.prompt


def test_figures_with_and_without_a_judge(tmp_path: Path) -> None:
    """Seven questions: B, A, "B. it's two" (undecided), B, "neither" (undecided), B, none for the last."""
    questions = tomato.questions(write(tmp_path))
    said = ["B", "a", "B. it's two", "b", "neither", "B"]
    replies = {question.id: reply for question, reply in zip(questions, said, strict=False)}
    score = tomato.score(questions, replies)
    found = {name: (figure.total, figure.of) for name, figure in score.figures.items()}
    assert found["count"] == (1, 2) and found["direction"] == (0, 1) and found["visual_cues"] == (0, 0)
    assert (found["human"], found["object"], found["simulated"]) == ((1, 3), (1, 2), (1, 1))
    assert found["overall"] == (3, 6) and found["decided by rule"] == (4, 6)
    assert score.counts == {"missing": 1, "undecided": 2} and "name a judge" in score.notes[0]

    asked: list[Any] = []

    def judge(requests: list[Any]) -> list[str | None]:
        asked.extend(requests)
        return ["B", "None"]

    score = tomato.score(questions, replies, judge)
    assert (score.figures["overall"].total, score.figures["direction"].total) == (4, 1)
    assert score.counts == {"missing": 1, "undecided": 2, "judge_missing": 0, "judge_unparsable": 0}
    assert asked[0][1]["content"] == "Question: How {many}?\nOptions:\nA. one\nB. it's two\nReply: B. it's two"


@pytest.mark.parametrize(
    ("judged", "letter"), [("B", "B"), (" (c). ", "C"), ("None", ""), ("A or B", None), ("G", None)]
)
def test_the_judges_letter(judged: str, letter: str | None) -> None:
    assert judged_letter(judged) == letter


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"options": []}, "visual_cues.json, 0: field 'options' has to be a list"),
        ({"answer": 2}, "'answer' has to be the number of an option"),
        ({"answer": True}, "'answer' has to be the number of an option"),
        ({"demonstration_type": "dream"}, "'demonstration_type' is none of human"),
    ],
)
def test_entries_that_cannot_be_asked(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path) / "visual_cues.json"
    path.write_text(json.dumps({"0": {**json.loads(path.read_text())["0"], **changes}}))
    with pytest.raises(ValueError, match=sentence):
        tomato.questions(tmp_path)
