"""Video-MME: the letter of a reply beside a second writing of the official rule, both kinds of file, figures by "
"hand."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.evaluation.benchmarks.videomme import chosen_letter, videomme


def official_letter(s: str) -> str:
    """eval_your_results.py, extract_characters_regex; its list has two commas too few, here as there."""
    s = s.strip()
    prefixes = [
        "The best answer is", "The correct answer is", "The answer is", "The answer",
        "The best option is" + "The correct option is", "Best answer:" + "Best option:",
        "Answer:", "Option:", "The correct answer", "The correct option",
    ]  # fmt: skip
    for prefix in prefixes:
        s = s.replace(prefix, "")
    if len(s.split()) > 10 and not re.search("[ABCD]", s):
        return ""
    found = re.search(r"[ABCD]", s)
    return "" if found is None else found[0]


def test_the_letter_is_that_of_the_official_rule() -> None:
    parts = ["", "A", "(b)", "C.", "D)", "The best answer is ", "The answer", "Answer: ", "Best option: ", "option"]
    parts += ["The correct ", "Because ", "none of these is it, as far as one can see from here. ", "Option:"]
    for length in (1, 2, 3):
        for pieces in itertools.product(parts, repeat=length):
            reply = "".join(pieces)
            assert (chosen_letter(reply) or "") == official_letter(reply), reply
    assert [chosen_letter(reply) for reply in ("Because it is C", "Answer: C", "b")] == ["B", "C", None]


def row(number: int, **changes: Any) -> dict[str, Any]:
    made = {
        "video_id": f"{number:03d}",
        "duration": ("short", "medium", "long")[number % 3],
        "domain": "Knowledge",
        "sub_category": "Law",
        "url": "",
        "videoID": f"id-{number}",
        "question_id": f"{number:03d}-1",
        "task_type": "Counting Problem",
        "question": "How many?",
        "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
        "answer": "B",
    }
    return {**made, **changes}


def test_the_hubs_table_and_a_json_list_ask_the_same(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [row(1), row(2, answer="D")]
    (tmp_path / "hub" / "videomme").mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "hub/videomme/test-00000-of-00001.parquet")
    (tmp_path / "videomme.json").write_text(json.dumps(rows))
    questions = videomme.questions(tmp_path)
    assert videomme.questions(tmp_path / "hub") == questions
    assert (questions[0].id, questions[0].video, questions[0].subset) == ("001-1", "id-1.mp4", "medium")
    assert questions[0].prompt == (
        "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
        "letter (A, B, C, or D) of the correct option.\nHow many?\nA. One.\nB. Two.\nC. Three.\nD. Four.\n"
        "The best answer is:"
    )
    (tmp_path / "hub/videomme/test-00000-of-00001.parquet").write_bytes(b"none")
    with pytest.raises(ValueError, match="is no table in Parquet"):
        videomme.questions(tmp_path / "hub")
    with pytest.raises(ValueError, match="has no videomme/test-00000-of-00001.parquet"):
        videomme.files(tmp_path / "hub" / "videomme" / "nowhere")


def test_figures(tmp_path: Path) -> None:
    """Six questions, two a duration, four of Knowledge; right are the first, third and fifth; the last names "
    "nothing."""
    rows = [row(n, domain="Knowledge" if n < 4 else "Life Record") for n in range(6)]
    (tmp_path / "videomme.json").write_text(json.dumps(rows))
    questions = videomme.questions(tmp_path)
    said = ["B", "A", "The answer is B", "D", "(B)", "two"]
    replies = {question.id: reply for question, reply in zip(questions, said, strict=True)}
    score = videomme.score(questions, replies)
    found = {name: (figure.total, figure.of) for name, figure in score.figures.items() if figure.of}
    assert found == {
        "Knowledge": (2, 4),
        "Life Record": (1, 2),
        "short": (1, 2),
        "medium": (1, 2),
        "long": (1, 2),
        "overall": (3, 6),
        "overall (official rule)": (3, 5),
    }
    assert score.counts == {"missing": 0, "unparsable": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"answer": "E"}, "row 0: field 'answer' has to be A, B, C or D"),
        ({"options": None}, "row 0: field 'options' has to be a list"),
        ({"duration": "brief"}, "row 0: 'duration' 'brief'"),
        ({"videoID": ""}, "row 0: field 'videoID' has to be a text"),
    ],
)
def test_rows_that_cannot_be_asked(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "videomme.json").write_text(json.dumps([row(0, **changes)]))
    with pytest.raises(ValueError, match=sentence):
        videomme.questions(tmp_path)
