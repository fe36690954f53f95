"""The file of replies while it grows: what is whole stays, a line that was torn by an interruption goes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.question import Question, read_replies

REPLIES = "replies.jsonl"
MARGIN = "yes_margin"


def mend(path: Path) -> bool:
    """Drop the last line where it is torn; whether it was."""
    if not path.exists():
        return False
    content = path.read_bytes()
    whole, newline, last = content.rpartition(b"\n")
    if not last:
        return False
    try:
        torn = not isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        torn = True
    # Bytes: whatever else is wrong with the file is said of its line by who reads it.
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(whole + newline if torn else content + b"\n")
    part.replace(path)
    return torn


def known_replies(path: Path, questions: Sequence[Question]) -> dict[str, str]:
    """The replies in the file, none where it is missing.

    Raises ValueError for a reply to what was not asked, see also `read_replies`.
    """
    replies = read_replies(path) if path.exists() else {}
    strays = replies.keys() - {question.id for question in questions}
    if strays:
        raise ValueError(f"{path}: {first_few(sorted(strays), 'reply', 'replies')} to no question of the benchmark.")
    return replies


def known_margins(path: Path) -> dict[str, float]:
    """log p(yes) - log p(no) by question id, of the replies that have it; none where the file is missing."""
    if not path.exists():
        return {}
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    return {line["id"]: line[MARGIN] for line in lines if isinstance(line.get(MARGIN), int | float)}


def append_replies(
    path: Path, replies: Iterable[tuple[str, str]], margins: Mapping[str, float | None] | None = None
) -> None:
    """Add (id, reply) lines, with their log p(yes) - log p(no) where `margins` has it.

    They are in the file when this returns.
    """
    lines = ""
    for id_, reply in replies:
        line: dict[str, Any] = {"id": id_, "reply": reply}
        if margins is not None and margins[id_] is not None:
            line[MARGIN] = margins[id_]
        # ASCII only: some of Unicode's line ends would split a line for its reader.
        lines += json.dumps(line) + "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(lines)


def first_few(names: Sequence[str], one: str, several: str) -> str:
    """`12 questions (a, b, c, ...)`."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {one if len(names) == 1 else several} ({shown})"
