"""Asking for rewrites: a real client against a real server on this machine, with all that can go wrong there."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from local_endpoint import Endpoint, serve

from vistadpo_plugin.datasets.rewrite import Request, RewriteError, Rewriter, open_client
from vistadpo_plugin.endpoint import MAX_FAILURES_IN_A_ROW, RETRIES, Pace, ReplyCache

pytest.importorskip("openai")

REQUESTS = [Request(f"Why number {index}?", f"Reason {index}.") for index in range(6)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")


def rewriter(endpoint: Endpoint, folder: Path, parallel: int = 1, model: str = "m") -> Rewriter:
    cache = ReplyCache(folder / "cache.jsonl", model)
    return Rewriter(open_client(endpoint.url), model, cache, Pace(60_000), parallel)


def said(question: str, option: str, before: int) -> str:
    return f"Because of {option.lower()}"


def test_every_request_is_answered_once_and_kept(tmp_path: Path) -> None:
    with serve(said) as endpoint:
        replies = rewriter(endpoint, tmp_path, parallel=3).ask(REQUESTS + REQUESTS)
        assert replies == {request: f"Because of {request.option.lower()}" for request in REQUESTS}
        assert sorted(endpoint.asked) == sorted((request.question, request.option) for request in REQUESTS)
        assert {body["model"] for body in endpoint.bodies} == {"m"} and {
            body["temperature"] for body in endpoint.bodies
        } == {0}
        assert endpoint.keys == {"Bearer secret-key"}
        assert rewriter(endpoint, tmp_path).ask(REQUESTS) == replies
        assert len(endpoint.asked) == 6
        # Another model is another question.
        rewriter(endpoint, tmp_path, model="other").ask(REQUESTS[:1])
        assert len(endpoint.asked) == 7
    assert "secret-key" not in (tmp_path / "cache.jsonl").read_text()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failures_are_tried_again(tmp_path: Path, status: int) -> None:
    def busy(question: str, option: str, before: int) -> Any:
        return said(question, option, before) if before == 2 else (status, b'{"error": {"message": "busy"}}')

    with serve(busy) as endpoint:
        replies = rewriter(endpoint, tmp_path).ask(REQUESTS[:2])
        assert all(replies.values()) and len(endpoint.asked) == 6


GARBAGE = {
    "a server error for good": (500, b'{"error": {"message": "broken"}}'),
    "no JSON": (200, b"<html>proxy</html>"),
    "other JSON": (200, b'{"hello": 1}'),
    "no choices": (200, b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'),
    "no text": (
        200,
        b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": '
        b'[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": null}}]}',
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_one_request_without_a_usable_reply_does_not_stop_the_others(tmp_path: Path, kind: str) -> None:
    def mostly(question: str, option: str, before: int) -> Any:
        return GARBAGE[kind] if option == "Reason 2." else said(question, option, before)

    with serve(mostly) as endpoint:
        replies = rewriter(endpoint, tmp_path).ask(REQUESTS)
        assert [request.option for request, reply in replies.items() if reply is None] == ["Reason 2."]
        tries = endpoint.asked.count(("Why number 2?", "Reason 2."))
        assert tries == (RETRIES + 1 if kind.startswith("a server") else 1)
        assert len(ReplyCache(tmp_path / "cache.jsonl", "m")) == 5


def test_an_endpoint_that_always_fails_stops_the_run(tmp_path: Path) -> None:
    with serve(lambda *_: (200, b"nothing")) as endpoint:
        many = [Request("Why?", f"Reason {index}.") for index in range(50)]
        with pytest.raises(
            RewriteError, match=f"failed {MAX_FAILURES_IN_A_ROW} times in a row.*0 answers that came are kept in"
        ):
            rewriter(endpoint, tmp_path).ask(many)
        assert len(endpoint.asked) < 10


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refuses the key in OPENAI_API_KEY: .*bad key"), (404, "check --model and --base-url: .*bad key")],
)
def test_a_refusal_is_not_tried_again(tmp_path: Path, status: int, sentence: str) -> None:
    with serve(lambda *_: (status, b'{"error": {"message": "bad key"}}')) as endpoint:
        with pytest.raises(RewriteError, match=sentence):
            rewriter(endpoint, tmp_path).ask(REQUESTS)
        assert len(endpoint.asked) <= 2


def test_what_came_before_an_interruption_is_not_asked_again(tmp_path: Path) -> None:
    stop = threading.Event()

    def until(question: str, option: str, before: int) -> Any:
        broken = option == "Reason 3." and not stop.is_set()
        return (401, b"{}") if broken else said(question, option, before)

    with serve(until) as endpoint:
        with pytest.raises(RewriteError):
            rewriter(endpoint, tmp_path).ask(REQUESTS)
        # A line that was being written when the process died.
        with (tmp_path / "cache.jsonl").open("a") as file:
            file.write('{"key": "12')
        stop.set()
        replies = rewriter(endpoint, tmp_path).ask(REQUESTS)
        assert all(replies.values())
        times = Counter(option for _, option in endpoint.asked)
        assert times == {request.option: 1 + (request.option == "Reason 3.") for request in REQUESTS}
    assert len(ReplyCache(tmp_path / "cache.jsonl", "m")) == 6


def test_a_file_that_is_no_cache_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "cache.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(RewriteError, match="cache.jsonl:1 is no line of a cache of replies"):
        ReplyCache(tmp_path / "cache.jsonl", "m")


def test_pace_is_kept_over_all_threads(tmp_path: Path) -> None:
    """1,200 a minute is one every 0.05 s: the sixth starts 0.25 s after the first."""
    with serve(said) as endpoint:
        made = rewriter(endpoint, tmp_path, parallel=6)
        made.pace = Pace(1200)
        begun = time.monotonic()
        made.ask(REQUESTS)
        assert time.monotonic() - begun >= 0.25


def test_a_key_is_needed_where_no_endpoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(RewriteError, match="needs a key in OPENAI_API_KEY"):
        open_client(None)
    assert open_client("http://127.0.0.1:1/v1").api_key == "none"
