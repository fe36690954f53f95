import json
from pathlib import Path

import pytest
from conftest import SHARED, needs_shared

from vistadpo_plugin.evaluation.benchmarks.eventhallusion_description import (
    OUR_PROMPTS,
    eventhallusion_description,
    figures_of,
    read_prompts,
    verdict,
)
from vistadpo_plugin.evaluation.question import Question

REAL = SHARED / "data" / "eval" / "eventhallusion"
CONSTANTS = """# as the repository writes them
entire = 'Entire. \\
Output: {}\\
Event: {}'

interleave = 'Interleave. Output: {} Event: {}'
misleading = "Misleading. Output: {} Event: {}"
print(undefined)
"""


def write_annotations(folder: Path) -> Path:
    """A video of each file; that of interleave has two questions, which this task does not ask."""
    for file in ("entire", "interleave", "misleading"):
        info = {"caption": f"Caption of {file} {{}}.", "unexpected": f"Surprise of {file}."}
        entry = {"id": f"{file}_001", "event_info": info, "questions": [{}, {}]}
        (folder / f"{file}_questions.json").write_text(json.dumps([entry]))
    return folder


class Replay:
    """A judge that says the next of `texts` to each request; what it was told is kept."""

    def __init__(self, *texts: str | None):
        self.texts, self.told = list(texts), []

    def __call__(self, requests: list[list[dict[str, str]]]) -> list[str | None]:
        self.told += requests
        return [self.texts.pop(0) for _ in requests]


@pytest.mark.parametrize(
    ("judged", "right"),
    [
        ("Yes. It agrees.", True),
        ("**Yes.** It agrees.", True),
        ("no", False),
        ("*No*, yes", False),
        ("The answer is yes.", None),
        (" Yes", None),
        ("", None),
    ],
)
def test_verdict(judged: str, right: bool | None) -> None:
    assert verdict(judged) is right


def test_a_question_carries_the_event_it_is_judged_by(tmp_path: Path) -> None:
    questions = eventhallusion_description.questions(write_annotations(tmp_path))
    assert questions[1] == Question(
        id="interleave_001/description",
        video="interleave/interleave_001.mp4",
        prompt="Please describe this video in detail.",
        answer="Surprise of interleave.",
        subset="mix",
        details={"judge_prompt": OUR_PROMPTS["interleave"]},
    )
    assert [question.answer for question in questions[::2]] == ["Caption of entire {}.", "Caption of misleading {}."]


def test_the_judge_is_told_description_and_event(tmp_path: Path) -> None:
    (tmp_path / "constants.py").write_text(CONSTANTS)
    questions = eventhallusion_description.questions(write_annotations(tmp_path))
    judge = Replay("Yes", "no", "yes")
    replies = {question.id: f" A {{dog}} in {question.subset}.\n" for question in questions}
    score = eventhallusion_description.score(questions, replies, judge)
    # The repository's line ends are escaped ones: nothing separates output and event.
    assert judge.told[0] == [
        {"role": "user", "content": "Entire. Output: A {dog} in entire.Event: Caption of entire {}."}
    ]
    assert judge.told[1][0]["content"] == "Interleave. Output: A {dog} in mix. Event: Surprise of interleave."
    assert not any("in our words" in note for note in score.notes)
    assert {name: (figure.total, figure.of) for name, figure in score.figures.items()} == {
        "entire": (1, 1),
        "mix": (0, 1),
        "misleading": (1, 1),
        "overall": (2, 3),
        "overall without misleading": (1, 2),
    }


def test_what_has_no_verdict_is_wrong_and_counted(tmp_path: Path) -> None:
    questions = eventhallusion_description.questions(write_annotations(tmp_path))
    replies = {question.id: "A dog." for question in questions} | {"entire_001/description": " \n"}
    judge = Replay(None, "I think yes")
    score = eventhallusion_description.score(questions, replies, judge)
    assert len(judge.told) == 2
    assert (score.figures["overall"].total, score.figures["overall"].of) == (0, 3)
    assert score.counts == {"missing": 0, "empty": 1, "unparsable": 1, "unjudged": 1}
    assert any("in our words" in note for note in score.notes)

    del replies["misleading_001/description"]
    score = eventhallusion_description.score(questions, replies, Replay("Yes"))
    assert (score.figures["overall"].total, score.figures["overall"].of) == (1, 2)
    assert score.figures["misleading"].value is None
    assert score.counts == {"missing": 1, "empty": 1, "unparsable": 0, "unjudged": 0}


def test_without_a_judge_there_is_no_score(tmp_path: Path) -> None:
    questions = eventhallusion_description.questions(write_annotations(tmp_path))
    with pytest.raises(ValueError, match="eventhallusion_description.*judge"):
        eventhallusion_description.score(questions, {})


def test_prompts_are_read_and_not_run(tmp_path: Path) -> None:
    """CONSTANTS ends with a line that would fail if it ran."""
    constants = write_annotations(tmp_path) / "constants.py"
    assert constants not in eventhallusion_description.files(tmp_path)
    constants.write_text(CONSTANTS)
    assert read_prompts(constants)["entire"] == "Entire. Output: {}Event: {}"
    assert constants in eventhallusion_description.files(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONSTANTS.replace("misleading =", "mislead ="), r"constants\.py: `misleading`"),
        (CONSTANTS.replace("Interleave. Output: {}", "Interleave."), r"constants\.py: `interleave`.*two gaps"),
        ("entire = '", r"constants\.py is not Python"),
    ],
)
def test_other_constants_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (write_annotations(tmp_path) / "constants.py").write_text(content)
    with pytest.raises(ValueError, match=message):
        eventhallusion_description.questions(tmp_path)


def test_an_entry_without_its_event_is_named(tmp_path: Path) -> None:
    path = write_annotations(tmp_path) / "interleave_questions.json"
    path.write_text(json.dumps([{"id": "interleave_001", "event_info": {"caption": "A dog."}}]))
    with pytest.raises(ValueError, match=r"interleave_questions\.json, entry 0 \(interleave_001\), .*unexpected"):
        eventhallusion_description.questions(tmp_path)


@needs_shared
def test_released_judgements_give_the_official_figures() -> None:
    """What the repository's own script prints for this file: 9/109, 14/193, 44/95 and 67/397; one judgement of the
    first split is empty. Without the last split that is 23/302."""
    released = json.loads((REAL / "predictions" / "video_llava_predictions.json").read_text())
    official = {"entire": (9, 109), "mix": (14, 193), "misleading": (44, 95), "overall": (67, 397)}
    official["overall without misleading"] = (23, 302)
    names = {"entire": "entire", "interleave": "mix", "misleading": "misleading"}
    hits = [
        (names[file], verdict(entry["judgement"]) is True)
        for file, split in released.items()
        for entry in split.values()
    ]
    assert {name: (figure.total, figure.of) for name, figure in figures_of(hits).items()} == official

    # The same through the benchmark, with a judge that says what was released.
    questions = eventhallusion_description.questions(REAL)
    entries = {f"{name}/description": entry for split in released.values() for name, entry in split.items()}
    replies = {name: entry["desc"] for name, entry in entries.items()}
    judge = Replay(*(entries[question.id]["judgement"] for question in questions))
    score = eventhallusion_description.score(questions, replies, judge)
    assert {name: (figure.total, figure.of) for name, figure in score.figures.items()} == official
    assert score.counts == {"missing": 0, "empty": 0, "unparsable": 1, "unjudged": 0}
    told = {question.id: request[0]["content"] for question, request in zip(questions, judge.told, strict=True)}
    assert all(entries[name]["desc"].strip() in text for name, text in told.items())
    surprise = entries["interleave_001/description"]["event_info"]["unexpected"]
    assert told["interleave_001/description"].endswith(surprise)
