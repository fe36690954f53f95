"""Answers polished into sentences by a language model behind an OpenAI-compatible endpoint, cached as they come.

Whether a reply may be used is decided afterwards (rewrite_rule.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vistadpo_plugin import endpoint as chat
from vistadpo_plugin.endpoint import Caller, Chat, ChatError, Messages, Pace, ReplyCache

INSTRUCTION = (
    "You turn the short answer to a question about a video into one plain English sentence that answers the question. "
    "Keep every word of the short answer exactly as it is spelled. Add nothing that the question and the short answer "
    "do not say. Do not add or remove a negation. Reply with the sentence and nothing else."
)

RewriteError = ChatError

CALLER = Caller("--rewrite", "--model", "--base-url", "vistadpo-plugin[rewrite]", "rewriting", "answer")


@dataclass(frozen=True)
class Request:
    """One answer to be made a sentence."""

    question: str
    option: str

    def messages(self) -> Messages:
        asked = f"Question: {self.question}\nShort answer: {self.option}"
        return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": asked}]


def open_client(base_url: str | None) -> Any:
    """The client, see `endpoint.open_client`."""
    return chat.open_client(base_url, CALLER)


@dataclass
class Rewriter:
    """Asks for what the cache does not hold, `parallel` requests at a time, not faster than `pace`."""

    client: Any
    model: str
    cache: ReplyCache
    pace: Pace
    parallel: int

    def ask(self, requests: list[Request]) -> dict[Request, str | None]:
        """The reply to each request, None where the endpoint gave none. Raises RewriteError, see `Chat.ask`."""
        asked = list(dict.fromkeys(requests))
        made = Chat(self.client, self.model, self.cache, self.pace, self.parallel, CALLER)
        return dict(zip(asked, made.ask([request.messages() for request in asked]), strict=True))
