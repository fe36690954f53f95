"""Video-ChatGPT's five aspects: what is asked, what the judge is told, figures of a judge behind a real connection."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from local_endpoint import serve, whole

from vistadpo_plugin.evaluation.benchmarks.video_chatgpt import ASPECTS, video_chatgpt
from vistadpo_plugin.evaluation.judge import Judge

# Taken of the messages that the five official scripts build for the texts of `FILLED`.
HASHES = {
    "correctness of information": "f73386b1da277279",
    "detail orientation": "b8a697efab5432c1",
    "contextual understanding": "6b52d88480ad8053",
    "temporal understanding": "81fe74df2a136bbe",
    "consistency": "abff2d2a2c3267b4",
}
FILLED = {"question": "Q?", "question1": "Q1?", "question2": "Q2?", "answer": "A."} | {
    "prediction": "P",
    "prediction1": "P1",
    "prediction2": "P2",
}


def write(folder: Path, **changes: Any) -> Path:
    """Two generic items, one temporal, two consistency items."""
    files = {
        "generic_qa": [{"Q": f"g{n}?", "A": f"G{n}", "video_name": f"v_{n}"} for n in range(2)],
        "temporal_qa": [{"Q": "t0?", "A": "T0", "video_name": "v_0"}],
        "consistency_qa": [
            {"Q1": f"c{n} one?", "Q2": f"c{n} two?", "A": f"C{n}", "video_name": f"v_{n}"} for n in range(2)
        ],
    }
    for name, entries in (files | changes).items():
        (folder / f"{name}.json").write_text(json.dumps(entries))
    return folder


@pytest.mark.parametrize("aspect", ASPECTS, ids=lambda aspect: aspect.name)
def test_the_judge_is_told_the_published_words(aspect: Any) -> None:
    system, user = aspect.judge_prompt.messages(**FILLED)
    digest = hashlib.sha256(f"{system['content']}\0{user['content']}".encode()).hexdigest()
    assert digest.startswith(HASHES[aspect.name])
    assert aspect.judge_prompt.text in video_chatgpt.judge_prompt


def test_questions(tmp_path: Path) -> None:
    made = video_chatgpt.questions(write(tmp_path))
    assert [(q.id, q.video, q.prompt, q.answer, q.subset) for q in made] == [
        ("generic/0", "v_0", "g0?", "G0", "generic"),
        ("generic/1", "v_1", "g1?", "G1", "generic"),
        ("temporal/0", "v_0", "t0?", "T0", "temporal"),
        ("consistency/0/1", "v_0", "c0 one?", "C0", "consistency"),
        ("consistency/0/2", "v_0", "c0 two?", "C0", "consistency"),
        ("consistency/1/1", "v_1", "c1 one?", "C1", "consistency"),
        ("consistency/1/2", "v_1", "c1 two?", "C1", "consistency"),
    ]


def test_figures_of_a_judge_behind_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Correctness 4 and 2: 3. Detail 1, the other reply unreadable: 1. Context 5 and 5: 5. Temporal: 3. Consistency: 2
    for the first item; of the second, a reply is missing, so it is not judged. Mean (3 + 1 + 5 + 3 + 2) / 5 = 2.8."""
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    scores = {
        ("factual accuracy", "said g0"): "{'score': 4}",
        ("factual accuracy", "said g1"): "{''score': 2.9}",
        ("detail orientation", "said g0"): "{'score': 1}",
        ("detail orientation", "said g1"): "very detailed",
        ("contextual understanding", "said g0"): '{"score": 5}',
        ("contextual understanding", "said g1"): "{'score': 5}",
        ("temporal accuracy", "said t0"): "{'score': 3}",
    }

    def answer(content: str, before: int) -> str:
        value = re.search(r"only as a (.+?) score where", content)[1]
        if value == "consistency":
            assert "Question 1: c0 one?\nQuestion 2: c0 two?\nCorrect Answer: C0\n" in content
            assert "to Question 1: said c0 one\nPredicted Answer to Question 2: said c0 two\n\n" in content
            return "{'score': 2}"
        number = re.search(r"Question: \w(\d)\?\nCorrect Answer: \w(\d)\nPredicted Answer: (said \w\d)\n\n", content)
        assert number[1] == number[2]
        return scores[value, number[3]]

    questions = video_chatgpt.questions(write(tmp_path))
    replies = {question.id: f" said {question.prompt.strip('?')} " for question in reversed(questions)}
    del replies["consistency/1/2"]
    with serve(answer, whole) as endpoint:
        judge = Judge("some-judge", tmp_path / "judge.jsonl", endpoint.url)
        score = video_chatgpt.score(questions, replies, judge)
        assert len(endpoint.asked) == 8
    assert {name: (figure.value, figure.of) for name, figure in score.figures.items()} == {
        "correctness of information": (3, 2),
        "detail orientation": (1, 1),
        "contextual understanding": (5, 2),
        "temporal understanding": (3, 1),
        "consistency": (2, 1),
        "average of the aspects": (pytest.approx(2.8), 5),
    }
    assert score.counts == {"missing": 1, "judge_missing": 0, "judge_unparsable": 1, "consistency_incomplete": 1}


def test_an_aspect_without_a_score_leaves_no_average(tmp_path: Path) -> None:
    questions = video_chatgpt.questions(write(tmp_path))
    replies = {question.id: "x" for question in questions if question.subset != "temporal"}
    figures = video_chatgpt.score(questions, replies, lambda requests: ["{'score': 1}"] * len(requests)).figures
    assert figures["consistency"].value == 1 and figures["temporal understanding"].value is None
    assert figures["average of the aspects"].value is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"generic_qa": [{"Q": "g?", "video_name": "v"}]}, "generic_qa.json, entry 0: field 'A'"),
        ({"temporal_qa": [{"A": "x", "video_name": "v"}]}, "temporal_qa.json, entry 0: field 'Q'"),
        ({"consistency_qa": [{"Q1": "c?", "A": "x", "video_name": "v"}]}, "consistency_qa.json, entry 0: field 'Q2'"),
        ({"consistency_qa": {}}, "consistency_qa.json: a list of entries"),
    ],
)
def test_entries_that_cannot_be_asked_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        video_chatgpt.questions(write(tmp_path, **changes))


def test_without_a_judge_nothing_is_scored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="video_chatgpt is judged by a language model"):
        video_chatgpt.score(video_chatgpt.questions(write(tmp_path)), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "temporal_qa.json").unlink()
    with pytest.raises(ValueError, match="temporal_qa.json"):
        video_chatgpt.files(tmp_path)
