"""Texts whose tokens mean something to the model: a place for an image, the end of an answer, the start of a turn.

A tokenizer turns `<|video_pad|>` or `</s>` inside a text into the very token that the processor or the template puts
there. The first kind makes a model look for a video that is not there; such a row cannot be used. The second ends an
answer early or forges a turn; such a row can be used, and is reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

_PLACEHOLDER = re.compile("<video>|<image>|<audio>")
_MEDIA_KEY = re.compile(r"(image|video|audio)\w*_token_(id|index)")
_MEDIA_TOKENS = ("image_token", "video_token", "audio_token")

FoundTokens = dict[str, list[int]]
"""By field of a row the ids of the added tokens in its text, in the order in which they appear, each once."""


class AddedTokens:
    """The tokens of `tokenizer` that stand for themselves in any text, be they special or not."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.ids = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)

    def found(self, texts: Iterable[tuple[str, str | None]]) -> FoundTokens:
        """The added tokens in (field, text) pairs; the placeholders of a prompt's media are not looked at."""
        found: FoundTokens = {}
        for field, text in texts:
            pieces = _PLACEHOLDER.split(text or "") if field == "prompt" else [text or ""]
            ids = [id for piece in pieces for id in self.tokenizer.encode(piece, add_special_tokens=False)]
            known = list(dict.fromkeys(id for id in ids if id in self.ids))
            if known:
                found[field] = list(dict.fromkeys([*found.get(field, []), *known]))
        return found


class TokenKinds:
    """Which of a model's tokens stand for media, and which control it.

    `config` is the model's; `others` are whatever else may name media tokens: its processor, its template's plugin.
    """

    def __init__(self, tokenizer: Any, config: Any, *others: Any):
        self.tokenizer = tokenizer
        self.media = _media_ids(config.to_dict())
        vocabulary = tokenizer.get_vocab()
        for one in (tokenizer, *others):
            tokens = [getattr(one, name, None) for name in _MEDIA_TOKENS]
            self.media |= {vocabulary[token] for token in tokens if isinstance(token, str) and token in vocabulary}
        special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.control = (special | set(tokenizer.all_special_ids)) - self.media

    def media_error(self, found: FoundTokens) -> str | None:
        """Why a row with these tokens cannot be used; None when it can."""
        for field, ids in found.items():
            media = [id for id in ids if id in self.media]
            if media:
                return (
                    f"`{field}` contains {self._texts(media)}, which to this model is a place for an image or a video "
                    "and not text. Write it otherwise, or remove the row."
                )
        return None

    def controls(self, found: FoundTokens) -> list[tuple[str, str]]:
        """(field, token) of every control token."""
        return [(field, self._texts([id])) for field, ids in found.items() for id in ids if id in self.control]

    def _texts(self, ids: list[int]) -> str:
        return ", ".join(self.tokenizer.convert_ids_to_tokens(ids))


def _media_ids(config: dict[str, Any]) -> set[int]:
    """What a configuration, or one within it, calls the id of an image, a video or audio."""
    found = set()
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _media_ids(value)
        elif isinstance(value, int) and _MEDIA_KEY.fullmatch(str(key)):
            found.add(value)
    return found


def read_found(column: str) -> FoundTokens:
    """A processed row's column, JSON of `FoundTokens`, empty where its texts hold no added token."""
    return json.loads(column) if column else {}
