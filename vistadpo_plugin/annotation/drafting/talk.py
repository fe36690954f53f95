"""One thing that a model is asked for: with the reason again where its reply cannot be used, three times in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from vistadpo_plugin.annotation.drafting.reply import Complaint, Read, Reading
from vistadpo_plugin.endpoint import Ask, Messages

TRIES = 3
NO_REPLY = Complaint("no reply from the endpoint", "no reply came; the same command asks for it again.")


@dataclass(frozen=True)
class Said(Generic[Read]):
    """What is good of the best reply, and what was wrong with the rest of it."""

    good: list[Read]
    complaints: list[Complaint]


async def ask_until_good(
    ask: Ask, messages: Messages, read: Callable[[str], Reading[Read]], again: Callable[[list[Complaint]], str]
) -> Said[Read]:
    """The reply in which most is good, the latest of several. `again` words why the last one cannot be used.

    Where the endpoint gives no reply, what is good so far counts, and `NO_REPLY` is the complaint.
    """
    best: Said[Read] | None = None
    for _ in range(TRIES):
        reply = await ask(messages)
        if reply is None:
            return Said(best.good if best else [], [NO_REPLY])
        good, complaints = read(reply)
        if best is None or len(good) >= len(best.good):
            best = Said(good, complaints)
        if not complaints:
            break
        messages = [
            *messages,
            {"role": "assistant", "content": reply or "(nothing)"},  # some endpoints refuse an empty one
            {"role": "user", "content": again(complaints)},
        ]
    assert best is not None
    return best
