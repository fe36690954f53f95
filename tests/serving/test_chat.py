"""The cache of replies, and what `ask` keeps; test_rewrite.py and test_judging.py ask through real connections."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from local_endpoint import serve, whole

from vistadpo_plugin.endpoint import Caller, Chat, ChatError, Messages, Pace, ReplyCache, open_client

pytest.importorskip("openai")

CALLER = Caller("it", "the model", "the address", "openai", "asking", "reply")


def user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def test_a_line_torn_inside_a_character_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    cache = ReplyCache(path, "m")
    cache.add(user("first"), "eins")
    whole_line = path.read_bytes()
    cache.add(user("second"), "zwölf")
    torn = path.read_bytes()
    end = torn.rindex("ö".encode()) + 1  # the first of its two bytes stays
    path.write_bytes(torn[:end])
    again = ReplyCache(path, "m")
    assert (again.get(user("first")), again.get(user("second"))) == ("eins", None)
    assert path.read_bytes() == whole_line


def test_the_key_is_the_model_and_the_messages(tmp_path: Path) -> None:
    """A line as rewriting wrote it before it shared this cache, with question and option beside the key."""
    messages = [{"role": "system", "content": "Reply."}, {"role": "user", "content": "Wie heißt é?"}]
    key = hashlib.sha256(json.dumps(["m", messages], ensure_ascii=False).encode()).hexdigest()[:32]
    line = {"key": key, "model": "m", "question": "Wie heißt é?", "option": "é", "reply": "E."}
    path = tmp_path / "cache.jsonl"
    path.write_text(json.dumps(line) + "\n")
    assert ReplyCache(path, "m").get(messages) == "E."
    assert ReplyCache(path, "other").get(messages) is None
    assert ReplyCache(path, "m").get(messages[1:]) is None


def test_half_a_surrogate_pair_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cache.jsonl"
    ReplyCache(path, "m").add(user("smile \ud83d"), "half \ude00")
    assert ReplyCache(path, "m").get(user("smile \ud83d")) == "half \ude00"


def test_replies_come_in_the_order_of_the_requests_and_equal_ones_are_asked_once(tmp_path: Path) -> None:
    def answer(content: str, before: int) -> str | tuple[int, bytes]:
        return (200, b"no JSON") if content == "b" else content.upper()

    with serve(answer, whole) as endpoint:
        client = open_client(endpoint.url, CALLER)
        chat = Chat(client, "m", ReplyCache(tmp_path / "cache.jsonl", "m"), Pace(60_000), 3, CALLER)
        assert chat.ask([user(text) for text in "cabac"]) == ["C", "A", None, "A", "C"]
        assert sorted(endpoint.asked) == [("a",), ("b",), ("c",)]
        assert chat.ask([]) == []


def test_messages_name_what_the_caller_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ChatError, match="^it needs a key in OPENAI_API_KEY, or the address of an endpoint"):
        open_client(None, CALLER)
    with serve(lambda *_: (404, b'{"error": {"message": "no such model"}}'), whole) as endpoint:
        client = open_client(endpoint.url, CALLER)
        chat = Chat(client, "m", ReplyCache(tmp_path / "cache.jsonl", "m"), Pace(60_000), 1, CALLER)
        with pytest.raises(ChatError, match="check the model and the address: .*no such model"):
            chat.ask([user("a")])
