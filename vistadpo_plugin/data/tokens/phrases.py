"""Which tokens of an answer belong to the phrases that are marked in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_CONTENT = "{{content}}"


class NoPlace(ValueError):
    """Why the tokens of a phrase cannot be told."""


def phrase_places(
    tokenizer: Any, slots: Iterable[Any], answer: str, ids: list[int], spans: Iterable[tuple[int, int]]
) -> list[int]:
    """Places among the tokens `ids` of an answer of those that share a character with one of `spans`, [start, end).

    `slots` are what a template makes an assistant's turn of: one of them, a text, holds the answer, and is tokenized as
    a whole. Tokens of anything else, as the end of the turn, belong to no phrase. Raises NoPlace.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise NoPlace(f"{type(tokenizer).__name__} does not say which characters a token stands for; use a fast one.")
    slot = next(slot for slot in slots if isinstance(slot, str) and _CONTENT in slot)
    before = slot.index(_CONTENT)
    encoded = tokenizer(slot.replace(_CONTENT, answer, 1), add_special_tokens=False, return_offsets_mapping=True)
    own, offsets = encoded["input_ids"], encoded["offset_mapping"]
    starts = [start for start in range(len(ids) - len(own) + 1) if ids[start : start + len(own)] == own]
    if len(starts) != 1:
        raise NoPlace("the template changes the answer, so where its phrases are is not known.")
    found: set[int] = set()
    for first, last in spans:
        inside = {
            starts[0] + place
            for place, (start, end) in enumerate(offsets)
            if start < end and start < last + before and end > first + before
        }
        if not inside:
            raise NoPlace(f"to the tokenizer {answer[first:last]!r} is no text.")
        found |= inside
    return sorted(found)
