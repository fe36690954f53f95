"""An endpoint on this machine that speaks the chat-completions protocol, and says what a test wants it to say."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# (the parts of what was asked, how many times that was asked before) -> the reply's text, or (status, body)
Answer = Callable[..., "str | tuple[int, bytes]"]
Parts = Callable[[str], tuple[str, ...]]
Messages = list[dict[str, Any]]

TOKENS = (100, 10)
"""What every request and every reply takes by the endpoint's own account."""


def question_and_option(content: str) -> tuple[str, ...]:
    """The parts of a request to rewrite an answer."""
    return tuple(line.split(": ", 1)[1] for line in content.split("\n"))


def whole(content: str) -> tuple[str, ...]:
    """The last message as it is."""
    return (content,)


def last_message(messages: Messages) -> str:
    """What a request asks, where the last message has it all."""
    return messages[-1]["content"]


def conversation(messages: Messages) -> str:
    """All of it, pictures too, as JSON."""
    return json.dumps(messages)


class Endpoint:
    """What was asked, and where to ask."""

    def __init__(self, answer: Answer, parts: Parts, content: Callable[[Messages], str]):
        self.answer, self.parts, self.content = answer, parts, content
        self.asked: list[tuple[str, ...]] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.url = ""
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    def reply(self, body: dict[str, Any], key: str) -> tuple[int, bytes]:
        """Status and body of one request."""
        asked = self.parts(self.content(body["messages"]))
        with self._lock:
            before = self._counts[asked]
            self._counts[asked] += 1
            self.asked.append(asked)
            self.bodies.append(body)
            self.keys.add(key)
        found = self.answer(*asked, before)
        if not isinstance(found, str):
            return found
        message = {"role": "assistant", "content": found}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
        made = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        made["usage"] = usage
        return 200, json.dumps(made).encode()


@contextmanager
def serve(
    answer: Answer, parts: Parts = question_and_option, content: Callable[[Messages], str] = last_message
) -> Iterator[Endpoint]:
    """The endpoint, listening on 127.0.0.1 while the context lasts. `parts` gets the `content` of a conversation."""
    endpoint = Endpoint(answer, parts, content)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = endpoint.reply(body, self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After-Ms", "1")  # the client waits half a second and more otherwise
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Not into the test's output."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
