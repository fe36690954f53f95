"""Leaving a judge that does not answer, and what is never shown of the key: a real client, process and connection."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local_endpoint import Endpoint, serve, whole

from vistadpo_plugin import endpoint as asking
from vistadpo_plugin.endpoint import Caller, Chat, ChatError, Pace, ReplyCache, open_client

pytest.importorskip("openai")

CALLER = Caller("it", "the model", "the address", "openai", "asking", "reply")
KEY = "my-own-endpoints-key-0123"
ASKS = """
import sys
from pathlib import Path
from vistadpo_plugin import endpoint
endpoint.GRACE_SECONDS = float(sys.argv[3])
caller = endpoint.Caller("it", "the model", "the address", "openai", "asking", "reply")
cache = endpoint.ReplyCache(Path(sys.argv[2]), "m")
chat = endpoint.Chat(endpoint.open_client(sys.argv[1], caller), "m", cache, endpoint.Pace(60_000), 4, caller)
try:
    chat.ask([[{"role": "user", "content": text}] for text in sys.argv[4:]])
except KeyboardInterrupt:
    sys.exit(130)
"""


def make_chat(endpoint: Endpoint, folder: Path) -> Chat:
    return Chat(
        open_client(endpoint.url, CALLER), "m", ReplyCache(folder / "cache.jsonl", "m"), Pace(60_000), 4, CALLER
    )


def ask(chat: Chat, *texts: str) -> list[str | None]:
    return chat.ask([[{"role": "user", "content": text}] for text in texts])


@contextmanager
def asked_by_a_process(folder: Path, grace: float, *texts: str) -> Iterator[tuple[subprocess.Popen, threading.Event]]:
    """A process that asks in fours; `late` is answered when the event is set, `never` when the test is over."""
    late, over = threading.Event(), threading.Event()

    def answer(content: str, before: int) -> str:
        waits = {"late": late, "never": over}.get(content.split()[0])
        if waits:
            waits.wait(60)
        return content.upper()

    with serve(answer, whole) as endpoint:
        process = subprocess.Popen(
            [sys.executable, "-c", ASKS, endpoint.url, folder / "cache.jsonl", str(grace), *texts],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until = time.monotonic() + 60
            while len(endpoint.asked) < min(4, len(texts)) and time.monotonic() < until:
                time.sleep(0.02)
            yield process, late
        finally:
            over.set()
            process.kill()
            process.wait()


def kept(folder: Path) -> list[str]:
    lines = (folder / "cache.jsonl").read_text().splitlines() if (folder / "cache.jsonl").exists() else []
    return sorted(json.loads(line)["reply"] for line in lines)


def test_ctrl_c_keeps_what_has_come_and_stops(tmp_path: Path) -> None:
    """One reply has come, one comes while it ends, two never do, and what waited in line is not asked."""
    texts = ("soon", "late", "never 1", "never 2", "never 3", "never 4")
    with asked_by_a_process(tmp_path, 3.0, *texts) as (process, late):
        until = time.monotonic() + 60
        while kept(tmp_path) != ["SOON"] and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        late.set()
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130 and 2.0 < time.monotonic() - begun < 10.0
    assert kept(tmp_path) == ["LATE", "SOON"]
    assert "waiting up to 3 s for replies; Ctrl-C again: at once" in said and "Traceback" not in said


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with asked_by_a_process(tmp_path, 50.0, "never 1", "never 2") as (process, _):
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert process.wait(timeout=5) == 130


def test_a_request_has_a_total_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tries and their waits: this server takes a request and never says a word."""
    over = threading.Event()
    monkeypatch.setattr(asking, "TOTAL_SECONDS", 0.7)

    def answer(content: str, before: int) -> str:
        if content == "never":
            over.wait(60)
        return content.upper()

    with serve(answer, whole) as endpoint:
        begun = time.monotonic()
        assert ask(make_chat(endpoint, tmp_path), "a", "never", "b") == ["A", None, "B"]
        assert time.monotonic() - begun < 20
        monkeypatch.setattr(asking, "MAX_FAILURES_IN_A_ROW", 1)
        with pytest.raises(ChatError, match="no reply within 0.7 s, all tries together"):
            ask(make_chat(endpoint, tmp_path), "never")
        over.set()


def test_a_client_asks_again_after_a_first_round(tmp_path: Path) -> None:
    """Benchmarks share one judge."""
    with serve(lambda content, before: content.upper(), whole) as endpoint:
        chat = make_chat(endpoint, tmp_path)
        assert [ask(chat, "a", "b"), ask(chat, "b", "c"), ask(chat, "d")] == [["A", "B"], ["B", "C"], ["D"]]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_the_key_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Endpoints repeat it whole, begun, escaped, or beside another secret; the reason stays."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(asking, "MAX_FAILURES_IN_A_ROW", 1)
    said = f"wrong key {KEY} ({KEY[:12]}***) for %6Dy-own-endpoints-key at ?token=swordfish"
    with serve(lambda *_: (status, json.dumps({"error": {"message": said}}).encode()), whole) as endpoint:
        with pytest.raises(ChatError, match="wrong key") as refused:
            ask(make_chat(endpoint, tmp_path), "a")
    shown = str(refused.value)
    assert not any(part in shown for part in (KEY[:10], KEY[-10:], "endpoints-key", "swordfish"))
    assert os.environ["OPENAI_API_KEY"] == KEY
