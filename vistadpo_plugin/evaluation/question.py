"""What a benchmark asks, and the two files in which questions and replies travel."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Question:
    """One question about one video.

    `id` is unique within the benchmark; `video` a path below the video root; `prompt` what the model is told after the
    video, the benchmark's own wording included; `answer` the annotation's (a text, or what the scorer reads);
    `subset` as the benchmark reports it; `details`: what else its scorer needs.
    """

    id: str
    video: str
    prompt: str
    answer: Any
    subset: str
    details: dict[str, Any] = field(default_factory=dict)


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions))


def read_replies(path: Path) -> dict[str, str]:
    """Replies by question id, of lines {"id": ..., "reply": ...}.

    Raises ValueError, naming the line, for one that is none, and for an id that was answered twice.
    """
    replies: dict[str, str] = {}
    # Not `splitlines`, which also breaks at line ends that JSON leaves inside a text. Bytes: a bad one has a line.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        again = "Remove the line and its question is asked again."
        try:
            given = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not UTF-8 text ({error.reason}). {again}") from None
        except (ValueError, RecursionError):
            raise ValueError(f"{where}: not JSON. {again}") from None
        if not isinstance(given, dict) or not all(isinstance(given.get(key), str) for key in ("id", "reply")):
            raise ValueError(f'{where}: expected {{"id": text, "reply": text}}.')
        if given["id"] in replies:
            raise ValueError(f"{where}: question {given['id']!r} was answered before. Keep one of its lines.")
        replies[given["id"]] = given["reply"]
    return replies
