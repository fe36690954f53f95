"""TempCompass: its three rules beside a second writing of the official ones, what a judge decides, and figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED, needs_shared

from vistadpo_plugin.evaluation.benchmarks.tempcompass import (
    OUR_JUDGE_PROMPT,
    caption_matching,
    multiple_choice,
    read_rating,
    tempcompass_caption_matching,
    tempcompass_multi_choice,
    tempcompass_yes_no,
    yes_or_no,
)

CHOICE = "What does he do?\nA. runs\nB. jumps\nC. sits\nD. sleeps"
CAPTIONS = (
    "Which description is a more suitable match for the video?\nOption 1: A man runs.\nOption 2: A man (a boy) sits."
)
MORE_CAPTIONS = "Which caption matches the video better?\nCaption A: It grows: fast.\nCaption B: It shrinks."


def official_choice(said: str, answer: str) -> int | None:
    """eval_multi-choice.py, main; None where it asks ChatGPT."""
    if said == answer:
        return 1
    if said in ["A", "B", "C", "D"]:
        return int(said == answer[0])
    for mark in ".)":
        if any(said.startswith(letter + mark) for letter in "ABCD"):
            return int(said.split(mark)[0] == answer[0])
    return None


def official_caption(said: str, question: str, answer: str) -> int | None:
    """eval_caption_matching.py, eval_rule; None for "fail"."""
    lines = question.split("\n")[1:]
    taken = None
    for line in lines:
        if line == said:
            taken = line
    for line in lines:
        sentence = line.split(": ")[1]
        if sentence == said or (") " in said and sentence == said.split(") ")[1]):
            taken = sentence
    labels = [line.split(": ")[0] for line in lines]
    bare = [label.replace("Sentence ", "").replace("Option ", "").replace("Caption ", "") for label in labels]
    for label in labels + bare:
        if label == said or label == said.replace(".", ""):
            taken = label
    if taken is None:
        return None
    forms = [answer, answer.split(":")[0], answer.split(": ")[1], answer.split(": ")[0].split()[1]]
    return int(taken in forms)


@pytest.mark.parametrize("answer", ["A. runs", "D. sleeps"])
def test_multiple_choice_is_the_official_rule(answer: str) -> None:
    parts = ["", "A", "B", "D", "E", "a", "A.", "A)", "(A)", "A. runs", "A. jumps", "D) sleeps", "D sleeps", "AB"]
    replies = [*parts, *(one + two for one, two in itertools.product(parts, [" ", ".", ")", " A.", "\nB"]))]
    for reply in replies:
        assert multiple_choice(reply, answer, CHOICE) == official_choice(reply, answer), reply
    assert multiple_choice("A", answer, CHOICE) is (answer[0] == "A")
    assert multiple_choice("(A)", answer, CHOICE) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (CAPTIONS, "Option 1: A man runs."),
        (CAPTIONS, "Option 2: A man (a boy) sits."),
        (MORE_CAPTIONS, "Caption B: It shrinks."),
    ],
)
def test_caption_matching_is_the_official_rule(question: str, answer: str) -> None:
    lines = question.split("\n")[1:]
    replies = ["", "neither", "Option 1 or Option 2", "1. Option 2", "A man runs. ", "It grows", "It grows: fast."]
    for line in lines:
        label, sentence = line.split(": ", 1)
        number = label.split()[1]
        replies += [line, label, f"{label}.", number, f"{number}.", sentence, sentence.rstrip(".")]
        replies += [f"({number}) {sentence}", f"x) {sentence}) y", f"{label} {sentence}", f"{label}: {sentence} "]
    found = {reply: caption_matching(reply, answer, question) for reply in replies}
    assert found == {reply: official_caption(reply, question, answer) for reply in replies}
    assert found[answer] is True and found["neither"] is None


def test_yes_or_no_is_what_a_reply_begins_with() -> None:
    assert yes_or_no("Yes, he is.", "yes", "") is True and yes_or_no("NOT really", "yes", "") is False
    assert yes_or_no("The answer is yes", "yes", "") is None and yes_or_no("now", "no", "") is True


def write(folder: Path) -> Path:
    """Two videos: 3 questions of multiple choice, 4 of yes or no, 3 of caption matching."""
    (folder / "questions").mkdir()
    ask = {
        "multi-choice": {
            "1": {"action": [(CHOICE, "A. runs"), (CHOICE, "B. jumps")]},
            "2.mp4": {"speed": [(CHOICE, "C. sits")]},
        },
        "yes_no": {
            "1": {"order": [("Is it?", "yes"), ("Was it?", "no")], "direction": [("Up?", "no"), ("Down?", "no")]}
        },
        "caption_matching": {
            "1": {
                "action": [(CAPTIONS, "Option 1: A man runs."), (CAPTIONS, "Option 1: A man runs.")],
                "attribute_change": [(MORE_CAPTIONS, "Caption B: It shrinks.")],
            }
        },
    }
    for name, videos in ask.items():
        content = {
            video: {aspect: [{"question": q, "answer": a} for q, a in asked] for aspect, asked in aspects.items()}
            for video, aspects in videos.items()
        }
        (folder / "questions" / f"{name}.json").write_text(json.dumps(content))
    return folder


def figures(benchmark: Any, folder: Path, said: list[str], judge: Any = None) -> tuple[dict[str, tuple[int, int]], Any]:
    questions = benchmark.questions(folder)
    replies = {question.id: reply for question, reply in zip(questions, said, strict=False)}
    score = benchmark.score(questions, replies, judge)
    return {name: (figure.total, figure.of) for name, figure in score.figures.items() if figure.of}, score


def test_questions_are_asked_in_the_official_words(tmp_path: Path) -> None:
    first, _, last = tempcompass_multi_choice.questions(write(tmp_path))
    assert (first.id, first.video, first.subset) == ("1/action/0", "1.mp4", "action")
    assert first.prompt == f"{CHOICE}\nPlease directly give the best option:"
    assert (last.id, last.video) == ("2.mp4/speed/0", "2.mp4")
    assert tempcompass_yes_no.questions(tmp_path)[0].prompt == "Is it?\nPlease answer yes or no:"
    captions = tempcompass_caption_matching.questions(tmp_path)
    assert captions[0].prompt == f"{CAPTIONS}\nPlease directly give the best option:"


def test_figures_without_a_judge(tmp_path: Path) -> None:
    """Right: the first of multiple choice; "sits" is not decided, so wrong. Of yes or no 3 of 4. Of captions the "
    "first."""
    found, score = figures(tempcompass_multi_choice, write(tmp_path), ["A. runs</s>", "C", "sits"])
    assert found == {"action": (1, 2), "speed": (0, 1), "average": (1, 3), "decided by rule": (2, 3)}
    assert score.counts == {"missing": 0, "undecided": 1} and "name a judge" in score.notes[0]
    found, _ = figures(tempcompass_yes_no, tmp_path, ["Yes.", "yes", "no", "No, it"])
    assert found == {"direction": (2, 2), "order": (1, 2), "average": (3, 4), "decided by rule": (4, 4)}
    found, score = figures(tempcompass_caption_matching, tmp_path, ["1", "Option 2."])
    assert found == {"action": (1, 2), "average": (1, 2), "decided by rule": (2, 2)} and score.counts["missing"] == 1


def test_a_judge_decides_what_the_rule_cannot(tmp_path: Path) -> None:
    """Asked of the two that are undecided only, in the repository's words where its file is there."""
    asked: list[list[dict[str, str]]] = []

    def judge(requests: list[list[dict[str, str]]]) -> list[str | None]:
        asked.extend(requests)
        return ["Correct", None]

    found, score = figures(tempcompass_multi_choice, write(tmp_path), ["he runs", "B", "sits"], judge)
    assert found["average"] == (2, 3) and found["decided by rule"] == (1, 3)
    assert score.counts == {"missing": 0, "undecided": 2, "judge_missing": 1, "judge_unparsable": 0}
    assert "in our words" in score.notes[0]
    system, user = asked[0]
    assert system["content"] == "You are an AI assistant for question answering."
    ending = f"Multi-Choice Question:\n{CHOICE}\nGround-Truth Answer: A. runs\nModel Prediction: he runs"
    assert user["content"] == f"{OUR_JUDGE_PROMPT}\n{ending}"

    templates = 'other = 1\nmulti_choice_evaluation_prompt = """\nTheir words.\n"""\n'
    (tmp_path / "prompt_templates.py").write_text(templates)
    assert len(tempcompass_multi_choice.files(tmp_path)) == 2
    _, score = figures(tempcompass_multi_choice, tmp_path, ["he runs", "B", "sits"], judge)
    assert asked[2][1]["content"] == f"\nTheir words.\n\n{ending}" and score.notes == []
    with pytest.raises(ValueError, match="assigns no text to `yes_no_evaluation_prompt`"):
        tempcompass_yes_no.questions(tmp_path)


@pytest.mark.parametrize(
    ("judged", "rating"),
    [("Correct", True), ("Incorrect.", False), ("It is Correct", True), ("Not Incorrect", False), ("yes", None)],
)
def test_the_judges_word(judged: str, rating: bool | None) -> None:
    assert read_rating(judged) is rating


@pytest.mark.parametrize(
    ("benchmark", "content", "sentence"),
    [
        (tempcompass_yes_no, [], "an object of entries by name is expected"),
        (tempcompass_yes_no, {"1": {"mood": []}}, r"video 1: questions by aspect \(action, .* are expected"),
        (tempcompass_yes_no, {"1": {"order": [{"question": "Q", "answer": "maybe"}]}}, "has to be 'yes' or 'no'"),
        (tempcompass_yes_no, {"1": {"order": ["Q"]}}, "1, order 0: an object with question and answer"),
        (
            tempcompass_caption_matching,
            {"1": {"order": [{"question": CAPTIONS, "answer": "Option 3: x"}]}},
            "is none of the options of its question",
        ),
    ],
)
def test_entries_that_cannot_be_asked(benchmark: Any, content: Any, sentence: str, tmp_path: Path) -> None:
    (tmp_path / benchmark.file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        benchmark.questions(tmp_path)


@needs_shared
def test_the_real_questions_answer_themselves() -> None:
    """The counts of the benchmark's repository; each answer is right by its own rule."""
    folder = SHARED / "data" / "eval" / "tempcompass"
    counts = {}
    for benchmark in (tempcompass_multi_choice, tempcompass_yes_no, tempcompass_caption_matching):
        questions = benchmark.questions(folder)
        counts[benchmark.file] = len(questions)
        score = benchmark.score(questions, {question.id: question.answer for question in questions})
        assert score.figures["average"].value == score.figures["decided by rule"].value == 100
    assert counts == {"multi-choice.json": 1580, "yes_no.json": 2453, "caption_matching.json": 1503}
