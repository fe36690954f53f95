"""Questions to a language model behind an OpenAI-compatible endpoint: paced, a bounded number of tries, kept on disk.

The cache holds raw replies by what was asked; what a reply is worth is decided afterwards, so a run that was
interrupted, or repeated with another rule, asks nothing twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tqdm import tqdm

from vistadpo_plugin.secrets.texts import holds_secret

RETRIES = 4
MAX_FAILURES_IN_A_ROW = 5
TIMEOUT_SECONDS = 60.0  # for one try to connect, or without a byte
TOTAL_SECONDS = 180.0  # for one request, all tries and waits together
GRACE_SECONDS = 5.0  # for replies under way when the asking stops early
TEMPERATURE = SEED = 0

NO_KEY = "none"  # what is sent where the endpoint wants none
_PART_OF_KEY = 8  # so many letters of the key in a row are not shown

Messages = list[dict[str, Any]]
"""One conversation as the protocol has it: [{"role": ..., "content": ...}, ...], content a text or a list of parts."""

Ask = Callable[[Messages], Awaitable[str | None]]
"""Gives the reply to a conversation, None where the endpoint gave none."""

Job = Callable[[Ask], Awaitable[None]]
"""Some work that asks one thing after another."""

Fill = Callable[[Messages], Awaitable[Messages]]
"""Puts pictures, say, where a conversation only names them: those names are kept in the cache, and nothing larger."""


class ChatError(ValueError):
    """The endpoint cannot be used; the message says why and what to do."""


class NoReply(Exception):
    """One request that got no usable reply after all retries."""


@dataclass(frozen=True)
class Caller:
    """Who asks, in the words of messages: what needs the endpoint, names model and address, brings the client."""

    needs: str
    model: str
    base_url: str
    install: str
    doing: str
    unit: str


@dataclass
class Spent:
    """What replies took by the endpoint's own account; `unknown` of them came without one."""

    replies: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    unknown: int = 0

    def add(self, usage: Usage | None) -> None:
        self.replies += 1
        if usage is None:
            self.unknown += 1
        else:
            self.tokens_in += usage[0]
            self.tokens_out += usage[1]


Usage = tuple[int, int]
"""Tokens of a request and of its reply."""


class ReplyCache:
    """Replies on disk, one JSON object a line, by model and content of the request. `spent` is that of this model's.

    A last line torn by an interruption is dropped. Raises ChatError for a file that is something else.
    """

    def __init__(self, path: Path, model: str):
        self.path, self.model = path, model
        self.spent = Spent()
        self._replies: dict[str, str] = {}
        if not path.exists():
            return
        # Bytes: an interruption may tear a character, too.
        *lines, torn = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                self._replies[entry["key"]] = entry["reply"]
                if entry["model"] == model:
                    self.spent.add(tuple(entry["usage"]) if "usage" in entry else None)
            except (ValueError, TypeError, KeyError):
                raise ChatError(f"{path}:{number} is no line of a cache of replies; move the file away.") from None
        if torn:
            path.write_bytes(b"".join(line + b"\n" for line in lines))

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, messages: Messages) -> str | None:
        return self._replies.get(self._key(messages))

    def add(self, messages: Messages, reply: str, usage: Usage | None = None) -> None:
        """Keep a reply, on disk before this returns."""
        entry = {"key": self._key(messages), "model": self.model, "asked": messages[-1]["content"], "reply": reply}
        if usage is not None:
            entry["usage"] = usage
        self._replies[entry["key"]] = reply
        self.spent.add(usage)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(_encoded(entry) + b"\n")

    def _key(self, messages: Messages) -> str:
        return hashlib.sha256(_encoded([self.model, messages])).hexdigest()[:32]


class Pace:
    """At most so many starts a minute."""

    def __init__(self, per_minute: float):
        self._gap = 60.0 / per_minute
        self._next = 0.0

    async def wait(self) -> None:
        """Return when it is one's turn."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._next)
        self._next = start + self._gap
        await asyncio.sleep(start - now)


def open_client(base_url: str | None, caller: Caller, timeout: float = TIMEOUT_SECONDS) -> Any:
    """A client with the key of OPENAI_API_KEY; an endpoint of one's own may do without a key.

    `timeout` is for one try to connect, or without a byte, in seconds. Raises ChatError when the library or the key is
    missing, or the address is none.
    """
    if base_url and not base_url.lower().startswith(("http://", "https://")):
        raise ChatError(f"{caller.base_url}: an address begins with http:// or https://, and mostly ends with /v1.")
    try:
        import openai
    except ImportError:
        install = f"pip install '{caller.install}' (or pip install openai)"
        raise ChatError(f"{caller.needs} needs the openai client: {install}.") from None
    key = os.environ.get("OPENAI_API_KEY") or (NO_KEY if base_url else None)
    if key is None:
        without = f"{caller.base_url} of an endpoint that wants none"
        raise ChatError(f"{caller.needs} needs a key in OPENAI_API_KEY, or {without}.")
    # The client waits longer after every failure, and as long as the server says where it says so.
    return openai.AsyncOpenAI(api_key=key, base_url=base_url, max_retries=RETRIES, timeout=timeout)


@dataclass
class Chat:
    """Asks for what the cache does not hold, `parallel` requests at a time, not faster than `pace`.

    `seconds` is what one request may take, all tries and waits together; None: `TOTAL_SECONDS`.
    """

    client: Any
    model: str
    cache: ReplyCache
    pace: Pace
    parallel: int
    caller: Caller
    seconds: float | None = None

    def ask(self, requests: list[Messages]) -> list[str | None]:
        """The reply to each request, None where the endpoint gave none. Equal requests are asked once.

        Raises as `run` does.
        """
        by_content = {_encoded(request): request for request in requests}
        replies = {content: self.cache.get(request) for content, request in by_content.items()}
        wanted = [content for content, reply in replies.items() if reply is None]

        def job(content: bytes) -> Job:
            async def one(ask: Ask) -> None:
                replies[content] = await ask(by_content[content])

            return one

        with tqdm(desc=self.caller.doing, total=len(wanted), unit=self.caller.unit, disable=not wanted or None) as bar:
            self.run(map(job, wanted), bar.update)
        return [replies[_encoded(request)] for request in requests]

    def run(self, jobs: Iterable[Job], done: Callable[[], object], fill: Fill | None = None) -> None:
        """Do all jobs, `parallel` at a time; `done` is called after each. Two may not ask for the same at a time.

        Raises ChatError when the endpoint refuses us (key, model, address) or fails several times in a row,
        KeyboardInterrupt after Ctrl-C. Replies that came before that are in the cache, and those under way have
        `GRACE_SECONDS` to come; a second Ctrl-C ends at once. What a job or `fill` raises ends the others likewise.
        Requests that got no reply are counted on standard error, with the reason.
        """
        waiting = deque(jobs)
        if not waiting:
            return
        unanswered: Counter[str] = Counter()
        asyncio.run(self._run(waiting, done, fill, unanswered))
        for reason, count in unanswered.most_common():
            print(f"no reply to {count} request{'s' * (count > 1)}: {reason}", file=sys.stderr)

    async def _run(
        self, waiting: deque[Job], done: Callable[[], object], fill: Fill | None, unanswered: Counter[str]
    ) -> None:
        import openai

        failures, stopping = 0, False

        async def ask(messages: Messages) -> str | None:
            nonlocal failures
            reply = self.cache.get(messages)
            if reply is not None:
                return reply
            filled = messages if fill is None else await fill(messages)
            await self.pace.wait()
            if stopping:
                raise asyncio.CancelledError
            try:
                reply, usage = await self._ask(client, filled)
            except NoReply as error:
                failures += 1
                unanswered[str(error)] += 1
                if failures == MAX_FAILURES_IN_A_ROW:
                    raise ChatError(
                        f"the endpoint failed {failures} times in a row ({error}); run the command again to go on: "
                        f"the {len(self.cache)} answers that came are kept in {self.cache.path}."
                    ) from None
                return None
            failures = 0
            self.cache.add(messages, reply, usage)
            return reply

        async def work() -> None:
            while waiting:
                await waiting.popleft()(ask)
                done()

        # Connections belong to the loop they are made in, and every call has its own.
        async with openai.DefaultAsyncHttpxClient() as connections:
            client = self.client.copy(http_client=connections)
            workers = [asyncio.create_task(work()) for _ in range(min(self.parallel, len(waiting)))]
            try:
                ended, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                for worker in ended:
                    worker.result()
            except asyncio.CancelledError:  # Ctrl-C; the next one is not caught
                print(f"\nwaiting up to {GRACE_SECONDS:g} s for replies; Ctrl-C again: at once", file=sys.stderr)
                raise
            finally:
                # Stopped early: replies under way are paid for.
                stopping = True
                waiting.clear()
                await asyncio.wait(workers, timeout=GRACE_SECONDS)
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, client: Any, messages: Messages) -> tuple[str, Usage | None]:
        """One reply and what it took. Raises NoReply for a passing failure, ChatError for a lasting one."""
        import openai

        seconds = TOTAL_SECONDS if self.seconds is None else self.seconds
        try:
            async with asyncio.timeout(seconds):
                reply = await client.chat.completions.create(
                    model=self.model, messages=messages, temperature=TEMPERATURE, seed=SEED
                )
        except TimeoutError:
            raise NoReply(f"no reply within {seconds:g} s, all tries together") from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ChatError(f"the endpoint refuses the key in OPENAI_API_KEY: {self._short(error)}") from None
        except (openai.NotFoundError, openai.BadRequestError, openai.UnprocessableEntityError) as error:
            check = f"check {self.caller.model} and {self.caller.base_url}"
            raise ChatError(f"the endpoint refuses the request; {check}: {self._short(error)}") from None
        except (openai.APIError, ValueError) as error:  # ValueError: a body that is no JSON
            raise NoReply(self._short(error)) from None
        choices = getattr(reply, "choices", None)
        text = choices[0].message.content if choices and choices[0].message else None
        if isinstance(text, str):
            return text, _usage(reply)
        raise NoReply(f"a reply without a text: {self._short(reply)}")

    def _short(self, value: object) -> str:
        """What an endpoint said, in one short line and without the key, which some repeat."""
        key = self.client.api_key
        size = min(_PART_OF_KEY, len(key))
        parts = set() if key == NO_KEY else {key[start : start + size] for start in range(len(key) - size + 1)}

        def shown(word: str) -> str:
            plain = unquote(word)
            return "[left out]" if holds_secret(word) or any(part in plain for part in parts) else word

        text = " ".join(map(shown, str(value).split()))
        return text if len(text) <= 200 else text[:197] + "..."


def _usage(reply: Any) -> Usage | None:
    usage = getattr(reply, "usage", None)
    counts = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
    return counts if all(isinstance(count, int) for count in counts) else None  # type: ignore[return-value]


def _encoded(value: Any) -> bytes:
    """JSON; half a surrogate pair, which models do write, is kept as it is."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
