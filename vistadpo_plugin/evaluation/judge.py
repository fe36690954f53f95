"""A language model as judge: who it is, how it is asked, and how its replies are read."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vistadpo_plugin.endpoint import SEED, TEMPERATURE, Caller, Chat, Messages, Pace, ReplyCache, open_client
from vistadpo_plugin.evaluation import score

CALLER = Caller(
    needs="`judge`",
    model="`model` of `judge`",
    base_url="`base_url` of `judge`",
    install="vistadpo-plugin[judge]",
    doing="judging",
    unit="reply",
)
MAX_SCORE = 5
JUDGES_DIFFER = (
    "Published figures were judged by versions of gpt-3.5-turbo that are no longer served; "
    "figures of different judges do not compare."
)

Read = TypeVar("Read")


class Judge:
    """A `score.Judge`: temperature 0, its replies kept in `cache`, asked again only where none came.

    Made before anything is judged, it raises ChatError (a ValueError) when the client or its key is missing; called,
    when the endpoint refuses the request or fails several times in a row.
    """

    def __init__(
        self,
        model: str,
        cache: Path,
        base_url: str | None = None,
        requests_per_minute: float = 300.0,
        parallel: int = 4,
    ):
        client = open_client(base_url, CALLER)
        self._chat = Chat(client, model, ReplyCache(cache, model), Pace(requests_per_minute), parallel, CALLER)

    @property
    def model(self) -> str:
        return self._chat.model

    def __call__(self, requests: list[Messages]) -> list[str | None]:
        """The reply to each request, None where none came after all tries."""
        return self._chat.ask(requests)

    def describe(self) -> dict[str, Any]:
        """What a report says of the judge."""
        return {"model": self.model, "temperature": TEMPERATURE, "seed": SEED}


@dataclass(frozen=True)
class JudgePrompt:
    """What the judge is told: a system message, and a user message with {names} to fill in."""

    system: str
    user: str

    def messages(self, **fields: str) -> Messages:
        """The conversation. Braces of the template that hold no name of `fields`, or come with a value, stay."""
        names = "|".join(fields)
        user = re.sub(rf"\{{({names})\}}", lambda match: fields[match[1]], self.user)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]

    @property
    def text(self) -> str:
        """Both messages, as a report hashes and shows them."""
        return f"{self.system}\n\n{self.user}"


@dataclass(frozen=True)
class Verdict:
    """The judge's yes or no, and its score from 0 to 5."""

    yes: bool
    score: int


def require(judge: score.Judge | None, benchmark: str) -> score.Judge:
    """The judge. Raises ValueError where there is none."""
    if judge is None:
        raise ValueError(f"{benchmark} is judged by a language model. Name a judge in the recipe.")
    return judge


def ask(
    judge: score.Judge, requests: list[Messages], read: Callable[[str], Read | None]
) -> tuple[list[Read], dict[str, int]]:
    """What could be read, and how many of the judge's replies did not come (`judge_missing`) or could not be read
    (`judge_unparsable`)."""
    replies = judge(requests) if requests else []
    came = [reply for reply in replies if reply is not None]
    found = [value for reply in came if (value := read(reply)) is not None]
    return found, {"judge_missing": len(requests) - len(came), "judge_unparsable": len(came) - len(found)}


def judge_undecided(
    judge: score.Judge | None, requests: list[Messages], read: Callable[[str], Read | None]
) -> tuple[list[Read | None], dict[str, int], str | None]:
    """What the judge says of replies that a benchmark's rule cannot decide: as `ask`, with None in the place of what
    did not come or could not be read; and a note for the report where nobody was there to be asked."""
    if not requests:
        return [], {}, None
    if judge is None:
        note = "Replies that the rule cannot decide are wrong here: name a judge in the recipe to have them judged."
        return [None] * len(requests), {}, note
    replies = judge(requests)
    found = [None if reply is None else read(reply) for reply in replies]
    missing = replies.count(None)
    return found, {"judge_missing": missing, "judge_unparsable": found.count(None) - missing}, None


def read_dictionary(reply: str) -> dict[str, Any] | None:
    """The one flat dictionary in a reply, in Python's or JSON's writing; None where there is none, or several.

    The doubled quotes of the benchmarks' own example, {''score': 4.8}, are read as single ones.
    """
    written = re.findall(r"\{[^{}]*\}", reply)
    if len(written) != 1:
        return None
    for text in (written[0], written[0].replace("''", "'")):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def read_score(reply: str) -> int | None:
    """The integer under 'score', 0 to 5. A fraction is cut off, as the benchmarks' scripts do with int()."""
    return _score(read_dictionary(reply))


def read_verdict(reply: str) -> Verdict | None:
    """The 'pred' and the 'score'. A 'pred' with "yes" in it, any case, is a yes, else one with "no" in it a no."""
    found = read_dictionary(reply)
    value = _score(found)
    said = found.get("pred") if found else None
    if value is None or not isinstance(said, str):
        return None
    yes, no = ("yes" in said.lower()), ("no" in said.lower())
    return Verdict(yes, value) if yes or no else None


def _score(found: dict[str, Any] | None) -> int | None:
    value = found.get("score") if found else None
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"\s*\d\s*", value, re.ASCII) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= MAX_SCORE else None
