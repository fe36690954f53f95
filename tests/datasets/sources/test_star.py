"""STAR's questions: event, keyframe and box of the answer's object, and what is left out for which reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from star_made import BOX, CLOTHES, PERSON, acted, situation, star_question

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.sources.star import SHOWN_TYPES, TYPES, read_star


def read(folder: Path, *items: Any, rate: float | None = 10.0, types: Any = TYPES) -> tuple[list[Question], Account]:
    (folder / "star.json").write_text(json.dumps(items))
    account = Account()
    questions = read_star(folder / "star.json", types, lambda video: rate, account)
    account.written = len(questions)
    account.check()
    return questions, account


def test_event_keyframe_and_box(tmp_path: Path) -> None:
    """The middle is 2.0 s. Frame n is at (n - 1) / 10 s: 1.1, 2.0 and 2.7, so frame 21 it is, corners to x, y, w, h."""
    ((question,), _) = read(tmp_path, star_question("Interaction_T1_13"))
    assert question.id == "star/Interaction_T1_13" and question.kind == "Interaction_T1"
    assert (question.right, question.prompt) == ("The clothes.", "Which object was tidied up by the person?")
    assert question.wrong == ("The closet/cabinet.", "The blanket.", "The table.")
    assert question.events == ((1.0, 3.0),)
    assert question.keyframe == 2.0 and question.boxes == ((6.0, 7.0, 16.0, 24.0),)
    assert question.notes == ()


def test_the_earlier_of_two_frames_equally_near_and_all_boxes_of_the_class(tmp_path: Path) -> None:
    two = situation((CLOTHES, [0.0, 0.0, 4.0, 5.0]), (CLOTHES, [10.0, 10.0, 12.0, 13.0]))
    one = situation((CLOTHES, [0.0, 0.0, 9.0, 9.0]))
    ((question,), _) = read(tmp_path, star_question("Interaction_T1_1", situations={"000026": one, "000016": two}))
    assert question.keyframe == 1.5
    assert question.boxes == ((0.0, 0.0, 4.0, 5.0), (10.0, 10.0, 2.0, 3.0))


OBJECTS = {
    "named by the question": acted("Interaction_T2_1", "What did the person do with the clothes?", "Put down.", "Ate."),
    "acted on, of two in the question": acted(
        "Sequence_T5_1", "What did the person do to the clothes before holding the box?", "Took.", "Opened."
    ),
    "of two in the question, named by the answer": acted(
        "Sequence_T3_1", "What happened after the person took the box?", "Put down the clothes.", "Opened the box."
    ),
    "named by the program alone": star_question(
        "Interaction_T1_2",
        answer="Those.",
        choices=[
            {"choice_id": 0, "choice": "The box."},
            {"choice_id": 1, "choice": "Those.", "choice_program": [{"value_input": ["clothes"]}]},
        ],
    ),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_the_object_of_an_answer(tmp_path: Path, case: str) -> None:
    ((question,), _) = read(tmp_path, OBJECTS[case])
    assert question.boxes == ((6.0, 7.0, 16.0, 24.0),) and question.notes == ()


UNCLEAR = {
    "several object classes": acted("Sequence_T1_1", "Which?", "The clothes on the table.", "The box."),
    "no object class": acted("Sequence_T1_1", "What did the person do?", "Laughed.", "Ran."),
    "has no box in any annotated frame": acted("Sequence_T1_1", "Which?", "The broom.", "The box."),
    "no annotated frame lies between start and end": star_question("Sequence_T1_1", start=30.0, end=33.0),
    "no box in any": star_question(
        "Sequence_T1_1",
        situations={
            "000020": situation((CLOTHES, None), (PERSON, [0.0, 0.0, 9.0, 9.0])),
            "000021": situation((CLOTHES, [3.0, 3.0, 3.4, 9.0]), (BOX, [0.0, 0.0, 9.0, 9.0])),
            "000022": {"bbox": [[0, 0, 9, 9]]},
        },
    ),
    "no box": star_question("Sequence_T1_1", situations=None),
}


@pytest.mark.parametrize("reason", UNCLEAR)
def test_no_keyframe_and_box_where_the_object_is_not_clear(tmp_path: Path, reason: str) -> None:
    ((question,), _) = read(tmp_path, UNCLEAR[reason])
    assert question.keyframe is None and question.boxes == ()
    assert question.events == ((UNCLEAR[reason]["start"], UNCLEAR[reason]["end"]),)
    (note,) = question.notes
    assert note.startswith("no keyframe and box: ") and reason in note


def test_an_unknown_frame_rate_takes_the_keyframe_away(tmp_path: Path) -> None:
    ((question,), _) = read(tmp_path, star_question("Interaction_T1_13"), rate=None)
    assert question.keyframe is None and question.boxes == ()
    assert question.notes == ("no keyframe and box: the video's frame rate is not known; give --fps or the videos",)


LEFT_OUT = {
    "no answer (the test split keeps them back)": {"answer": None},
    "the answer is none of the choices": {"answer": "The dog."},
    "choices that are no list of {choice_id, choice}": {"choices": ["The clothes."]},
    "start and end that are no segment in seconds": {"end": 0.5},
    "no video_id": {"video_id": " "},
    "no choice says anything else than the right one": {"choices": [{"choice": "The clothes."}, {"choice": "Clothes"}]},
    "an unknown question type, 'Story'": {"question_id": "Story_1"},
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_left_out_and_counted(tmp_path: Path, reason: str) -> None:
    questions, account = read(tmp_path, star_question("Interaction_T1_1", **LEFT_OUT[reason]))
    assert questions == [] and list(account.left_out) == [reason]


def test_a_question_without_an_id_is_named_by_its_place(tmp_path: Path) -> None:
    nameless = star_question("Interaction_T1_1", question_id=None)
    _, account = read(tmp_path, star_question("Interaction_T1_2"), nameless)
    assert account.left_out == {"no question_id": [("star.json[1]", "")]}


def test_types_and_repetitions(tmp_path: Path) -> None:
    names = ("Interaction_T1_1", "Sequence_T1_1", "Prediction_T3_1", "Feasibility_T1_1", "Interaction_T1_1")
    questions, account = read(tmp_path, *map(star_question, names), types=SHOWN_TYPES)
    assert [question.id for question in questions] == ["star/Interaction_T1_1", "star/Sequence_T1_1"]
    assert {reason: len(places) for reason, places in account.left_out.items()} == {
        "question type Prediction, which --types does not name": 1,
        "question type Feasibility, which --types does not name": 1,
        "the same question_id a second time": 1,
    }
    questions, _ = read(tmp_path, *map(star_question, names[::-1]))
    assert len(questions) == 4


@pytest.mark.parametrize("content", ["{}", "[1]", "[", ""])
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "star.json").write_text(content)
    with pytest.raises(ValueError, match="star.json is not"):
        read_star(tmp_path / "star.json", TYPES, lambda video: 10.0, Account())
