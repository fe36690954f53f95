"""JSON in which every key is given once. Python's own reader keeps the last value of several, and says nothing."""

from __future__ import annotations

import json
from typing import Any

_SPACE = " \t\n\r"


class RepeatedKey(ValueError):
    """An object gives `key` twice."""

    def __init__(self, key: str):
        super().__init__(f"the key {json.dumps(key)} is given twice; keep one of them")
        self.key = key


def loads(text: str) -> Any:
    """As `json.loads`. Raises RepeatedKey, JSONDecodeError (both ValueErrors) or RecursionError."""
    return json.loads(text, object_pairs_hook=_once)


def split_list(text: str) -> list[str]:
    """The elements of a JSON list, each as its own text, which may still give a key twice.

    Raises JSONDecodeError with the place in the list, or RecursionError.
    """
    decoder, elements = json.JSONDecoder(), []
    place = _skip(text, _skip(text, 0) + 1)  # behind the bracket
    if text[place : place + 1] != "]":
        while True:
            _, end = decoder.raw_decode(text, place)
            elements.append(text[place:end])
            place = _skip(text, end)
            if text[place : place + 1] == "]":
                break
            if text[place : place + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
            place = _skip(text, place + 1)
    end = _skip(text, place + 1)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return elements


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedKey(next(name for name in names if names.count(name) > 1))
    return made
