"""TVQA+'s file: texts, event, keyframe and box of a question, what is left out, and the real validation set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED
from tvqa_plus_made import QUESTIONS, box, tvqa_question, write_tvqa_plus

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.sources.tvqa_plus import NAMED_BY, OUTSIDE, read_tvqa_plus

ONLY_RIGHT, RIGHT, ASKED = NAMED_BY
REAL = SHARED / "data" / "tvqa_plus" / "tvqa_plus_val.json"
OPTIONS = ("A book", "A mug", "A towel", "A phone", "A lamp")


def read(folder: Path, *items: Any, numbered: bool = True) -> tuple[list[Question], Account]:
    account = Account()
    questions = read_tvqa_plus(write_tvqa_plus(folder, items), lambda video: numbered, account)
    account.written = len(questions)
    account.check()
    return questions, account


def test_ten_questions(tmp_path: Path) -> None:
    questions, account = read(tmp_path, *QUESTIONS)
    assert (account.read, account.left_out) == (10, {})
    first = questions[0]
    assert (first.id, first.video, first.group) == ("tvqa-plus/133290", "s01e02_seg02_clip_12", "s01e02_seg02")
    assert first.prompt == "What does Penny hold when she didn't sit?"
    assert first.right == "Penny holds a mug."
    assert set(first.wrong) == {"Penny holds a book.", "A towel.", "Penny's phone.", "A lamp."}
    assert first.events == ((2.0, 6),)
    # Only the right answer names the mug; frame 13 is the thirteenth image, four seconds after the first at 3 a second.
    assert (first.keyframe, first.boxes, first.notes) == (4.0, ((40, 30, 8, 9),), (ONLY_RIGHT,))
    assert questions[6].right == "At 6:30." and questions[9].right == "Yes, twice."
    kinds = ["what", "who", "where", "why", "how", "what", "when", "what", "where", "other"]
    assert [question.kind for question in questions] == kinds


def test_what_the_box_is_of(tmp_path: Path) -> None:
    """Answer 3 names Penny, as other options do; only question 1 does; nothing boxed is named in 2, or boxed in 4."""
    questions, _ = read(tmp_path, *QUESTIONS)
    assert questions[1].notes == (ASKED,)
    assert questions[3].notes == (RIGHT, OUTSIDE) and questions[3].keyframe == 4.0
    for question in (questions[2], questions[4]):
        assert question.keyframe is None and question.boxes == ()
        assert question.notes == ("no keyframe and box: no frame has a box of what the question or its answer names",)


def test_the_keyframe_is_inside_the_event_then_shows_most_then_is_nearest_to_the_middle(tmp_path: Path) -> None:
    """The event is seconds 2 to 6, its middle frame 13. Mug and lamp are asked about: `A mug on a lamp`."""
    options = ("A mug on a lamp", "Tea", "Rice", "Milk", "Soup")

    def keyframe(boxes: dict[str, list[Any]]) -> float | None:
        ((question,), _) = read(tmp_path, tvqa_question(1, "c_clip_1", "What ?", options, 0, bbox=boxes))
        return question.keyframe

    mug, lamp = ([box(0, name, 1, 1, 5, 5)] for name in ("mug", "Lamp"))
    assert keyframe({"1": mug + lamp, "19": mug}) == 6.0
    assert keyframe({"13": mug, "19": mug + lamp}) == 6.0
    assert keyframe({"7": mug + lamp, "16": mug + lamp}) == 5.0
    assert keyframe({"10": lamp, "16": mug}) == 3.0  # equally near: the earlier
    assert keyframe({"22": mug, "25": lamp + mug}) == 8.0  # none inside


def test_boxes_of_another_form_are_counted_and_not_used(tmp_path: Path) -> None:
    bad = [{"label": "mug"}, box(13, "mug", 0, 0, 0, 9), "mug", {**box(13, "mug", 1, 1, 2, 2), "label": None}]
    item = tvqa_question(1, "c_clip_1", "What ?", OPTIONS, 1, bbox={"13": bad, "x": [box(1, "mug", 1, 1, 2, 2)]})
    ((question,), _) = read(tmp_path, item)
    assert question.boxes == ()
    assert question.notes[0] == "a box that is no {label, left, top, width, height} in a frame from 1 on is not used"


LEFT_OUT = {
    "no answer_idx (the test split keeps the answers back)": {"answer_idx": None},
    "an answer_idx that is none of 0 to 4": {"answer_idx": "5"},
    "a ts that is no [start, end] in seconds": {"ts": [0.0, float("nan")]},
    "a ts that starts before 0 or does not end after it starts": {"ts": [53.02, 53.02]},
    "no option": {"a4": " . "},
    "no q": {"q": None},
    "no vid_name": {"vid_name": ""},
    "a qid that is no whole number": {"qid": "133290"},
    "no option says anything else than the right one": {f"a{place}": "A mug ." for place in range(5)},
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_left_out_and_counted_with_its_place(tmp_path: Path, reason: str) -> None:
    bad = tvqa_question(5, "c_clip_1", "What ?", OPTIONS, 1) | LEFT_OUT[reason]
    questions, account = read(tmp_path, *QUESTIONS, bad)
    assert len(questions) == 10
    where = "tvqa_plus_val.json[10]" if "qid" in LEFT_OUT[reason] else "tvqa-plus/5"
    assert account.left_out == {reason: [(where, "")]}


def test_a_question_twice_and_frames_with_gaps(tmp_path: Path) -> None:
    _, account = read(tmp_path, QUESTIONS[0], QUESTIONS[0])
    assert list(account.left_out) == ["the same qid a second time"]
    questions, account = read(tmp_path, *QUESTIONS, numbered=False)
    assert questions == []
    assert list(account.left_out) == ["its folder does not hold the frames 1, 2, 3 and so on without gaps"]


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, *QUESTIONS) == read(tmp_path, *QUESTIONS[::-1])


@pytest.mark.parametrize("content", ["{}", "[1]", "[", "", "\xff"])
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tvqa_plus_val.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match="tvqa_plus_val.json is n"):
        read_tvqa_plus(path, lambda video: True, Account())


@pytest.mark.skipif(not REAL.is_file(), reason="the validation set of TVQA+ is not here")
def test_the_real_validation_set() -> None:
    """3,017 questions about 431 clips, 2,981 with a box; two have an interval without length. Counted by hand."""
    account = Account()
    questions = read_tvqa_plus(REAL, lambda video: True, account)
    assert (account.read, len(questions)) == (3017, 3015)
    assert {where for places in account.left_out.values() for where, _ in places} == {
        "tvqa-plus/130879",
        "tvqa-plus/136018",
    }
    assert len({question.video for question in questions}) == 431
    content = {f"tvqa-plus/{item['qid']}": item for item in json.loads(REAL.read_text())}
    named: Counter[bool] = Counter()
    for question in questions:
        item = content[question.id]
        assert list(question.events[0]) == item["ts"]
        boxed = {frame: boxes for frame, boxes in item["bbox"].items() if boxes}
        assert bool(question.boxes) == bool(boxed)
        if question.boxes:
            number = str(round(question.keyframe * 3) + 1)
            sides = [(one["left"], one["top"], one["width"], one["height"]) for one in boxed[number]]
            assert set(question.boxes) <= set(sides)
            named[item["ts"][0] <= question.keyframe <= item["ts"][1]] += 1
    assert sum(named.values()) >= 2979 and named[True] > 0.95 * sum(named.values())
