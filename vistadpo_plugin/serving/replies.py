"""How a reply ends that the host's engine writes in a thread of its own, token by token.

The host makes that thread a daemon, and it goes on for a moment when the last token is out. An interpreter that ends
meanwhile takes its threads away inside of torch, and C++ answers with SIGABRT ("terminate called without an active
exception"): a session that went well has the exit status -6.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

REPLY = "vistadpo_reply"
"""Our key in the host's `input_kwargs`, by which a `Reply` gets to `generate`."""


class WritingThread(Thread):
    """What the host starts as a daemon; the interpreter waits for it before it ends."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{**kwargs, "daemon": False})


class Reply:
    """One reply under way, as a stopping criterion of transformers: so whoever leaves early is not waited for long."""

    def __init__(self) -> None:
        self._ended = False

    def end(self) -> None:
        """No token after the next one."""
        self._ended = True

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """For each of the sequences `input_ids` (n, length) whether it is at its end: bool (n,)."""
        return input_ids.new_full((len(input_ids),), self._ended).bool()
