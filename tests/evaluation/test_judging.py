"""The judge: asked over a real connection; its replies read by hand-made cases."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_endpoint import serve, whole

from vistadpo_plugin.evaluation.judge import Judge, JudgePrompt, Verdict, ask, read_score, read_verdict, require

READ = {
    "{'pred': 'yes', 'score': 4}": Verdict(True, 4),
    "{'pred': 'no', 'score': 0}": Verdict(False, 0),
    '{"pred": "No", "score": 2}': Verdict(False, 2),
    "{'pred': 'YES.', 'score': 5}": Verdict(True, 5),
    "{'pred': 'yes', 'score': 4.8}": Verdict(True, 4),  # int(4.8)
    "{'pred': 'yes', 'score': '3'}": Verdict(True, 3),
    "{''pred'': ''yes'', ''score'': 4.8}": Verdict(True, 4),
    "```python\n{'pred': 'yes',\n 'score': 4}\n```": Verdict(True, 4),
    "Sure! {'score': 1, 'pred': 'no'} I hope this helps.": Verdict(False, 1),
    "{'pred': 'yes, not no', 'score': 4}": Verdict(True, 4),  # the official script looks for "yes" first
    "{'pred': 'maybe', 'score': 4}": None,
    "{'pred': True, 'score': 4}": None,
    "{'pred': 'yes'}": None,
    "{'score': 4}": None,
    "{'pred': 'yes', 'score': 6}": None,
    "{'pred': 'yes', 'score': -1}": None,
    "{'pred': 'yes', 'score': 1e999}": None,
    "{'pred': 'yes', 'score': True}": None,
    "{'pred': 'yes', 'score': 'four'}": None,
    "{'pred': 'yes', 'score': None}": None,
    "{'pred': 'yes', 'score': 4} or {'pred': 'no', 'score': 1}": None,
    "{'pred', 'score'}": None,
    "yes, 4": None,
    "": None,
    "{": None,
    "{'pred': 'yes', 'score': " + "(" * 5000 + "4" + ")" * 5000 + "}": None,
}


@pytest.mark.parametrize("reply", READ, ids=lambda reply: repr(reply)[:60])
def test_a_verdict_is_read(reply: str) -> None:
    assert read_verdict(reply) == READ[reply]


def test_a_reply_is_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert read_score(f"{{'score': __import__('pathlib').Path({str(mark)!r}).touch() or 4}}") is None
    assert not mark.exists()


def test_a_score_alone_is_read() -> None:
    read = {text: read_score(text) for text in ("{'score': 3}", "{''score': 4.8}", "{'score': 5.5}", "3")}
    assert list(read.values()) == [3, 4, None, None]


def test_a_template_takes_values_as_they_are() -> None:
    """Braces in the template's example and in what is filled in are no names."""
    prompt = JudgePrompt("Judge.", "Q: {question} A: {answer} Say {'pred': 'yes'}.")
    assert prompt.messages(question="{answer}?", answer="\\1 {question}") == [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": "Q: {answer}? A: \\1 {question} Say {'pred': 'yes'}."},
    ]
    assert prompt.text == "Judge.\n\nQ: {question} A: {answer} Say {'pred': 'yes'}."


def test_a_judge_is_asked_at_temperature_0_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def answer(content: str, before: int) -> str | tuple[int, bytes]:
        return {"good": "{'score': 3}", "odd": "three"}.get(content, (200, b"no JSON"))

    requests = [[{"role": "user", "content": text}] for text in ("good", "lost", "odd", "good")]
    with serve(answer, whole) as endpoint:
        judge = Judge("some-judge", tmp_path / "judge.jsonl", endpoint.url)
        assert judge(requests) == ["{'score': 3}", None, "three", "{'score': 3}"]
        assert {(body["model"], body["temperature"]) for body in endpoint.bodies} == {("some-judge", 0)}
        # Another run asks again for what did not come, and for nothing else.
        again = Judge("some-judge", tmp_path / "judge.jsonl", endpoint.url)
        assert ask(again, requests, read_score) == ([3, 3], {"judge_missing": 1, "judge_unparsable": 1})
        assert sorted(endpoint.asked) == [("good",), ("lost",), ("lost",), ("odd",)]
    assert judge.model == "some-judge" and judge.describe()["model"] == "some-judge"
    assert judge.describe()["temperature"] == 0


def test_a_judge_needs_a_key_or_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="`judge` needs a key in OPENAI_API_KEY, or `base_url` of `judge`"):
        Judge("some-judge", tmp_path / "judge.jsonl")


def test_a_judged_benchmark_needs_a_judge() -> None:
    with pytest.raises(ValueError, match="msvd_qa is judged by a language model"):
        require(None, "msvd_qa")


def test_no_requests_ask_nobody() -> None:
    def nobody(requests: object) -> list[str | None]:
        raise AssertionError("asked")

    assert ask(nobody, [], read_score) == ([], {"judge_missing": 0, "judge_unparsable": 0})
