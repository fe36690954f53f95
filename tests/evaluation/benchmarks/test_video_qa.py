"""Judged open questions: files joined by id, and figures of a judge behind a real connection."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED, needs_shared
from local_endpoint import serve, whole

from vistadpo_plugin.evaluation.benchmarks.video_qa import (
    JUDGE_PROMPT,
    activitynet_qa,
    exact_match,
    msrvtt_qa,
    msvd_qa,
    tgif_qa,
)
from vistadpo_plugin.evaluation.judge import Judge

ASKED = [
    {"video_name": "a", "question": "is it a dog", "question_id": "v_a_1"},
    {"video_name": "a", "question": "what color is it", "question_id": "v_a_2"},
    {"video_name": "b", "question": "what is {answer}", "question_id": "v_b_1"},
]
ANSWERS = [
    {"answer": "yes", "type": 3, "question_id": "v_a_1"},
    {"answer": "red", "type": 4, "question_id": "v_a_2"},
    {"answer": "running", "type": 0, "question_id": "v_b_1"},
]


def write(folder: Path, asked: list[dict[str, Any]] = ASKED, answers: list[dict[str, Any]] = ANSWERS) -> Path:
    (folder / "test_q.json").write_text(json.dumps(asked))
    (folder / "test_a.json").write_text(json.dumps(answers))
    return folder


def says(*verdicts: str) -> Any:
    """A judge that replies to the requests in order."""
    return lambda requests: list(verdicts)[: len(requests)]


def test_answers_are_joined_by_id(tmp_path: Path) -> None:
    made = activitynet_qa.questions(write(tmp_path, answers=ANSWERS[::-1]))
    assert [(q.id, q.video, q.prompt, q.answer, q.subset) for q in made] == [
        ("v_a_1", "v_a", "is it a dog", "yes", "Yes/No"),
        ("v_a_2", "v_a", "what color is it", "red", "Color"),
        ("v_b_1", "v_b", "what is {answer}", "running", "Motion"),
    ]
    untyped = msvd_qa.questions(tmp_path)
    assert [(q.video, q.subset, q.details) for q in untyped] == [("a", "All", {}), ("a", "All", {}), ("b", "All", {})]


def test_ids_may_be_numbers_and_types_may_lack(tmp_path: Path) -> None:
    asked = [{"video_name": "x", "question": "what", "question_id": 7}]
    made = tgif_qa.questions(write(tmp_path, asked, [{"answer": "cat", "question_id": "7"}]))
    assert [(q.id, q.video, q.answer) for q in made] == [("7", "x", "cat")]


@pytest.mark.parametrize(
    ("asked", "answers", "sentence"),
    [
        (ASKED, ANSWERS[:1] + ANSWERS[2:], r"test_a.json lacks 1 of the 3 question ids .* first is 'v_a_2'"),
        (ASKED[1:], ANSWERS, r"test_q.json lacks 1 of the 3 question ids .* first is 'v_a_1'"),
        (ASKED, [*ANSWERS, ANSWERS[0]], r"test_a.json, entry 3: question id 'v_a_1' is there already"),
        ([*ASKED, ASKED[1]], ANSWERS, r"test_q.json, entry 3: question id 'v_a_2' is there already"),
        (ASKED, [{**ANSWERS[0], "answer": ""}, *ANSWERS[1:]], r"test_a.json, question 'v_a_1': field 'answer'"),
        (ASKED, [{**ANSWERS[0], "type": 9}, *ANSWERS[1:]], r"'v_a_1': field 'type' has to be a number .* found 9"),
        (ASKED, [{**ANSWERS[0], "type": None}, *ANSWERS[1:]], r"'v_a_1': field 'type' .* found None"),
        ([{"question_id": None}], ANSWERS, r"test_q.json, entry 0: field 'question_id'"),
        ([], ANSWERS, r"test_q.json: a list of entries is expected"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, asked: list[dict[str, Any]], answers: list[dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        activitynet_qa.questions(write(tmp_path, asked, answers))


def test_the_judge_is_told_the_published_words() -> None:
    """The hash was taken of the messages that evaluate_activitynet_qa.py builds for these three texts."""
    system, user = JUDGE_PROMPT.messages(question="Q?", answer="A.", prediction="P")
    digest = hashlib.sha256(f"{system['content']}\0{user['content']}".encode()).hexdigest()
    assert digest.startswith("222d0e5874852245")
    assert msvd_qa.judge_prompt == msrvtt_qa.judge_prompt == JUDGE_PROMPT.text


def test_figures_of_a_judge_behind_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six replies: yes 5, yes 4, no 1, one that cannot be read, one that does not come, and no reply of the model's:
    accuracy 2 of 3, mean score 10 / 3."""
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    verdicts = {
        "first": "{'pred': 'yes', 'score': 5}",
        "second": '{"pred": "yes", "score": 4.8}',
        "third": "{'pred': 'no', 'score': 1}",
        "fourth": "I would say yes.",
    }

    def answer(content: str, before: int) -> str | tuple[int, bytes]:
        said = re.search(r"Question: what (\w+)\nCorrect Answer: it (\w+)\nPredicted Answer: a (\w+)\n\n", content)
        assert said is not None and len(set(said.groups())) == 1
        return verdicts.get(said[1], (200, b"no JSON"))

    names = [*verdicts, "fifth", "sixth"]
    asked = [{"video_name": "v", "question": f"what {name}", "question_id": name} for name in names]
    answers = [{"answer": f"it {name}", "question_id": name} for name in reversed(names)]
    questions = msrvtt_qa.questions(write(tmp_path, asked, answers))
    replies = {name: f" a {name}\n" for name in reversed(names[:5])}
    with serve(answer, whole) as endpoint:
        judge = Judge("some-judge", tmp_path / "judge.jsonl", endpoint.url)
        score = msrvtt_qa.score(questions, replies, judge)
    assert {name: (figure.total, figure.of) for name, figure in score.figures.items()} == {
        "accuracy": (2, 3),
        "score": (10, 3),
    }
    assert score.figures["score"].value == pytest.approx(10 / 3)
    assert score.counts == {"missing": 1, "judge_missing": 1, "judge_unparsable": 1}


def test_exact_match_by_type(tmp_path: Path) -> None:
    """Right: yes (type 3) and running (type 0). "Red" is not "red". Free is the types from 3 on: 1 of 2."""
    questions = activitynet_qa.questions(write(tmp_path))
    replies = {"v_a_1": "yes\n", "v_a_2": "Red", "v_b_1": "running"}
    score = activitynet_qa.score(questions, replies, says(*["{'pred': 'no', 'score': 0}"] * 3))
    found = {name: (figure.total, figure.of) for name, figure in score.figures.items() if figure.of}
    assert found == {
        "accuracy": (0, 3),
        "score": (0, 3),
        "exact match: Motion": (1, 1),
        "exact match: Free": (1, 2),
        "exact match: All": (2, 3),
        "exact match: Yes/No": (1, 1),
        "exact match: Color": (0, 1),
    }


def test_without_a_judge_nothing_is_scored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="activitynet_qa is judged by a language model"):
        activitynet_qa.score(activitynet_qa.questions(write(tmp_path)), {})


@needs_shared
def test_the_real_files_in_any_order(tmp_path: Path) -> None:
    """8,000 questions on 800 videos; by the README's types 800 each of 0 to 2, so 5,600 free ones. The oracle is right
    always; the most frequent answer, yes, is right as often as the answer file has it."""
    folder = SHARED / "data" / "eval" / "activitynetqa"
    questions = activitynet_qa.questions(folder)
    assert len(questions) == 8000 and len({question.video for question in questions}) == 800
    raw = {name: json.loads((folder / name).read_text()) for name in ("test_q.json", "test_a.json")}
    shuffled = list(raw["test_a.json"])
    random.Random(0).shuffle(shuffled)
    assert activitynet_qa.questions(write(tmp_path, raw["test_q.json"], shuffled)) == questions

    oracle = exact_match(questions, {entry["question_id"]: entry["answer"] for entry in raw["test_a.json"]})
    assert {figure.value for figure in oracle.values()} == {100}
    assert (oracle["exact match: Free"].of, oracle["exact match: Motion"].of) == (5600, 800)
    yes = exact_match(questions, {question.id: "yes" for question in questions})["exact match: All"]
    assert (yes.total, yes.of) == ((folder / "test_a.json").read_text().count('"answer": "yes"'), 8000)
