import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SHARED, needs_shared

from vistadpo_plugin.evaluation.benchmarks.eventhallusion import eventhallusion, first_word
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Score

REAL = SHARED / "data" / "eval" / "eventhallusion"

# Replies to the questions of each video, whose answers are No. but for interleave.
REPLIES = {
    "entire": [["No, it is not.", "Yes"], ["Not at all"]],
    "interleave": [["YES!"], ["No, yes"]],
    "misleading": [["The answer is no."], [""], [" no"]],
}


def video(file: str, index: int) -> dict:
    answer = "Yes." if file == "interleave" else "No."
    questions = [{"question": f"Is it {{{n}}}?", "answer": answer} for n, _ in enumerate(REPLIES[file][index])]
    info = {"caption": f"Caption {index}.", "unexpected": f"Surprise {index}."}
    return {"id": f"{file}_{index:03}", "event_info": info, "questions": questions}


def write_annotations(folder: Path, spoil: Callable[[dict], object] = lambda entry: None) -> Path:
    """`spoil` is given the second video of interleave."""
    folder.mkdir(exist_ok=True)
    for file, videos in REPLIES.items():
        entries = [video(file, index) for index, _ in enumerate(videos)]
        if file == "interleave":
            spoil(entries[1])
        (folder / f"{file}_questions.json").write_text(json.dumps(entries))
    return folder


def hand_replies() -> dict[str, str]:
    return {
        f"{file}_{index:03}/{n}": reply
        for file, videos in REPLIES.items()
        for index, said in enumerate(videos)
        for n, reply in enumerate(said)
    }


def fractions(score: Score) -> dict[str, tuple[float, int]]:
    return {name: (figure.total, figure.of) for name, figure in score.figures.items()}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Yes.", "yes"),
        ("YESTERDAY", "yes"),
        ("No, yes", "no"),
        ("Not really", "no"),
        ("Now it is", "no"),
        ("The answer is no", None),
        (" yes", None),
        ("", None),
    ],
)
def test_a_text_is_what_it_begins_with(text: str, word: str | None) -> None:
    assert first_word(text) == word


def test_a_question_carries_prompt_video_and_answer(tmp_path: Path) -> None:
    questions = eventhallusion.questions(write_annotations(tmp_path))
    assert questions[1] == Question(
        id="entire_000/1",
        video="entire/entire_000.mp4",
        prompt="Is it {1}?\nPlease answer yes or no:",
        answer="No.",
        subset="entire",
    )
    assert [question.subset for question in questions] == ["entire"] * 3 + ["mix"] * 2 + ["misleading"] * 3


def test_figures_by_hand(tmp_path: Path) -> None:
    """entire: no, yes, no against no, no, no; mix: yes, no against yes, yes; misleading: neither, neither, no."""
    score = eventhallusion.score(eventhallusion.questions(write_annotations(tmp_path)), hand_replies())
    assert fractions(score) == {
        "entire": (2, 3),
        "mix": (1, 2),
        "misleading": (1, 3),
        "overall": (4, 8),
        "yes rate": (2, 8),
    }
    assert score.counts == {"missing": 0, "unparsable": 2}


def test_figures_are_over_what_was_answered(tmp_path: Path) -> None:
    replies = hand_replies()
    del replies["entire_000/0"], replies["interleave_000/0"]
    score = eventhallusion.score(eventhallusion.questions(write_annotations(tmp_path)), replies)
    assert fractions(score) | {"yes rate": None} == {
        "entire": (1, 2),
        "mix": (0, 1),
        "misleading": (1, 3),
        "overall": (2, 6),
        "yes rate": None,
    }
    assert score.counts["missing"] == 2


def test_files_are_found_as_in_the_repository_too(tmp_path: Path) -> None:
    write_annotations(tmp_path / "questions")
    assert [path.name.split("_")[0] for path in eventhallusion.files(tmp_path)] == list(REPLIES)
    assert len(eventhallusion.questions(tmp_path)) == 8


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write_annotations(tmp_path) / "interleave_questions.json").unlink()
    with pytest.raises(ValueError, match=r"interleave_questions\.json"):
        eventhallusion.files(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda entry: entry.pop("id"), r"interleave_questions\.json, entry 1: .*id"),
        (lambda entry: entry.update(id="entire_000"), r"entry 1: id 'entire_000' is there already"),
        (lambda entry: entry.update(questions=[]), r"entry 1 \(interleave_001\): .*questions"),
        (lambda entry: entry.update(questions=["?"]), r"question 0: an object"),
        (lambda entry: entry["questions"][0].pop("question"), r"question 0: .*question"),
        (lambda entry: entry["questions"][0].update(answer="Maybe."), r"question 0: .*answer.*'Yes\.' or 'No\.'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[dict], object], message: str) -> None:
    write_annotations(tmp_path, spoil)
    with pytest.raises(ValueError, match=message):
        eventhallusion.questions(tmp_path)


@needs_shared
def test_released_predictions_give_the_official_figures() -> None:
    questions = eventhallusion.questions(REAL)
    assert len({question.id for question in questions}) == len(questions) == 409
    released = json.loads((REAL / "predictions" / "video_llava_predictions.json").read_text())
    replies = {
        f"{name}/{index}": asked["prediction"]
        for split in released.values()
        for name, entry in split.items()
        for index, asked in enumerate(entry["qa"])
    }
    score = eventhallusion.score(questions, replies)
    # All but the last are what the repository's own script prints for this file; 79 + 130 + 60 replies begin with yes.
    assert fractions(score) == {
        "entire": (35, 114),
        "mix": (130, 193),
        "misleading": (42, 102),
        "overall": (207, 409),
        "yes rate": (269, 409),
    }
    assert score.counts == {"missing": 0, "unparsable": 0}
