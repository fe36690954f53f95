"""Conversations as lists of messages: {"role", "content"}, the content a text or a list of parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vistadpo_plugin.datasets.preferences.pair import Unusable, read_paths, read_prompt

SYSTEM_DROPPED = "a system message, which a row has no place for, left out"

_MEDIA = ("video", "image")


@dataclass(frozen=True)
class Message:
    """What one side says: `text` with a placeholder where media are shown, and the media named among its parts."""

    role: str
    text: str
    videos: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


def read_messages(value: Any, field: str) -> list[Message]:
    """The messages of a field. Raises Unusable for what is no list of them."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Unusable(f"`{field}` is no list of messages")
    return [_message(item, field) for item in value]


def _message(item: dict[str, Any], field: str) -> Message:
    role, content = item.get("role"), item.get("content")
    if role not in ("system", "user", "assistant"):
        raise Unusable(f"`{field}` has a message by someone else than system, user and assistant", f"role {role!r:.40}")
    if isinstance(content, str):
        return Message(role, content)
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise Unusable(f"`{field}` has a message without a text")
    text, found = "", {kind: [] for kind in _MEDIA}
    for part in content:
        kind = str(part.get("type"))
        if kind == "text" and isinstance(part.get("text"), str):
            text += part["text"]
            continue
        media = kind.removesuffix("_url")
        if media not in _MEDIA:
            raise Unusable(f"`{field}` has a message with a part that is no text, image or video", f"type {kind!r:.40}")
        text += f"<{media}>\n"
        found[media] += read_paths(part.get(kind) or None)
    return Message(role, text, tuple(found["video"]), tuple(found["image"]))


@dataclass(frozen=True)
class Exchange:
    """One question with its answer, and the media named in the question."""

    prompt: str
    answer: str
    videos: tuple[str, ...]
    images: tuple[str, ...]
    notes: tuple[str, ...]


def one_exchange(messages: list[Message], field: str) -> Exchange:
    """A conversation that is one question and one answer. Raises Unusable for any other."""
    notes = (SYSTEM_DROPPED,) if any(message.role == "system" for message in messages) else ()
    roles = [message.role for message in messages if message.role != "system"]
    if roles != ["user", "assistant"]:
        raise Unusable(
            f"`{field}` is not one question and one answer (a row has no place for earlier turns)", ", ".join(roles)
        )
    question, answer = (message for message in messages if message.role != "system")
    if answer.videos or answer.images:
        raise Unusable(f"`{field}` has media in an answer")
    if not answer.text.strip():
        raise Unusable(f"`{field}` has an empty answer")
    return Exchange(read_prompt(question.text), answer.text.strip(), question.videos, question.images, notes)
