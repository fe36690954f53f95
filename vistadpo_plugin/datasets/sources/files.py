"""Annotation files read, with the file named in what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError naming the file."""
    return _parsed(read_text(path), str(path))


def read_json_lines(path: Path) -> list[Any]:
    """What the lines of a file hold, empty ones left out. Raises ValueError naming file and line."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [_parsed(line, f"{path}, line {number},") for number, line in lines if line.strip()]


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises ValueError naming the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}.") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not valid JSON: {error}.") from None
