"""MVBench: the official match by hand-made cases, its prompt, and figures on twenty small files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.evaluation.benchmarks.mvbench import CUT, TASKS, mvbench, official_hit, strict_hit

# reply -> (official, strict), the answer being "(B) Took the box."
HITS = {
    "(B) Took the box.": (True, True),
    "(B)": (True, True),
    "B": (True, True),
    "b.": (True, True),
    "B) Took": (True, True),
    "(b): the box": (True, True),
    "  B\nbecause": (True, True),
    "(A) Ate (B)": (False, False),  # the first word decides
    "The answer is (B)": (False, False),
    "Took the box.": (False, False),
    "**B**": (False, False),
    "AB": (False, False),
    "A": (False, False),
    "": (True, False),
    " \n": (True, False),
    ".": (True, False),
    "(": (True, False),  # what the official run makes of an empty reply
    ")": (True, False),
    "?": (False, False),
}


def entry(task: str, **changes: Any) -> dict[str, Any]:
    made = {"video": "1.mp4", "question": "What?", "candidates": ["Left it.", "Took it."], "answer": "Took it."}
    return made | ({"start": 1.5, "end": 4} if task in CUT else {}) | changes


def write(folder: Path, **changes: list[dict[str, Any]]) -> Path:
    """Two entries a task, answers B and A; `changes`: other entries, by file stem."""
    for task in TASKS:
        stem = task.lower().replace(" ", "_").replace("-", "_")
        entries = changes.pop(stem, [entry(task), entry(task, answer="Left it.")])
        (folder / f"{stem}.json").write_text(json.dumps(entries))
    assert not changes
    return folder


@pytest.mark.parametrize("reply", HITS, ids=repr)
def test_match(reply: str) -> None:
    answer = "(B) Took the box."
    assert (official_hit(reply, answer), strict_hit(reply, answer)) == HITS[reply]


def test_the_prompt_is_the_official_one(tmp_path: Path) -> None:
    """The example that the official notebook printed."""
    options = ["Ate the medicine.", "Tidied up the blanket.", "Put down the cup/glass/bottle.", "Took the box."]
    asked = "What happened after the person took the food?"
    written = entry("Action Sequence", question=asked, candidates=options, answer=options[3])
    question = mvbench.questions(write(tmp_path, action_sequence=[written]))[0]
    assert question.prompt == (
        "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
        "objects, and the action and pose of persons. Based on your observations, select the best option that "
        "accurately addresses the question.\n"
        "Question: What happened after the person took the food?\n"
        "Options:\n"
        "(A) Ate the medicine.\n"
        "(B) Tidied up the blanket.\n"
        "(C) Put down the cup/glass/bottle.\n"
        "(D) Took the box.\n"
        "Only give the best option."
    )
    assert question.answer == "(D) Took the box."
    assert (question.id, question.subset) == ("action_sequence/0", "Action Sequence")
    assert (question.video, question.details) == ("star/Charades_v1_480/1.mp4", {"start": 1.5, "end": 4})


def test_details_are_the_parts_of_cut_videos(tmp_path: Path) -> None:
    """Five tasks are cut; one of them has frames, three a second, for videos."""
    details = {question.subset: question.details for question in mvbench.questions(write(tmp_path))}
    part = {"start": 1.5, "end": 4}
    assert {task: found for task, found in details.items() if found} == {
        "Action Sequence": part,
        "Action Prediction": part,
        "Object Interaction": part,
        "Action Localization": part,
        "Episodic Reasoning": part | {"fps": 3},
    }


def test_braces_in_a_question_stay(tmp_path: Path) -> None:
    written = entry("Action Count", question="How {many}?", candidates=["{options}", "2"], answer="2")
    question = next(q for q in mvbench.questions(write(tmp_path, action_count=[written])) if q.subset == "Action Count")
    assert "Question: How {many}?\nOptions:\n(A) {options}\n(B) 2\nOnly" in question.prompt


def test_figures(tmp_path: Path) -> None:
    """40 questions, two a task, right are B and A. "(A)" everywhere: 20 of 40. B for the first of Action Antonym: 21.
    Nothing for the second of State Change, which only the official rule counts: 20, official 21. No reply to the second
    of Object Shuffle: 19 of 39, official 20 of 39."""
    questions = mvbench.questions(write(tmp_path))
    assert len(questions) == 40 and len({question.id for question in questions}) == 40
    replies = {question.id: "(A)" for question in questions}
    replies |= {"action_antonym/0": "B", "state_change/1": ""}
    del replies["object_shuffle/1"]
    score = mvbench.score(questions, replies)
    found = {name: (figure.total, figure.of) for name, figure in score.figures.items()}
    assert found.pop("average") == (19, 39)
    assert found.pop("average (official rule)") == (20, 39)
    expected = dict.fromkeys(TASKS, (1, 2))
    assert found == expected | {"Action Antonym": (2, 2), "State Change": (0, 2), "Object Shuffle": (0, 1)}
    assert score.counts == {"missing": 1, "unparsable": 1}


def test_always_empty_is_all_right_officially_and_all_wrong_here(tmp_path: Path) -> None:
    questions = mvbench.questions(write(tmp_path))
    figures = mvbench.score(questions, dict.fromkeys((question.id for question in questions), "")).figures
    assert (figures["average"].value, figures["average (official rule)"].value) == (0, 100)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"answer": "Threw it."}, r"state_change.json, entry 1: the answer 'Threw it.' is none of the candidates"),
        ({"candidates": []}, r"state_change.json, entry 1: field 'candidates' has to be a list of options"),
        ({"question": None}, r"state_change.json, entry 1: field 'question' has to be a text"),
    ],
)
def test_entries_that_cannot_be_asked_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    entries = [entry("State Change"), entry("State Change", **changes)]
    with pytest.raises(ValueError, match=sentence):
        mvbench.questions(write(tmp_path, state_change=entries))


def test_a_cut_needs_seconds(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="action_localization.json, entry 0: field 'end' has to be seconds, found None"
    ):
        mvbench.questions(write(tmp_path, action_localization=[entry("Action Localization", end=None)]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "fine_grained_pose.json").unlink()
    with pytest.raises(ValueError, match="fine_grained_pose.json"):
        mvbench.files(tmp_path)
