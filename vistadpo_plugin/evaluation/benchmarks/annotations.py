"""Reading the annotation files of a benchmark: JSON lists of objects, or objects of what is asked by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def find_files(benchmark: str, annotations: Path, names: list[str]) -> list[Path]:
    """The files of these names below the folder `annotations`; raises ValueError naming those that are missing."""
    missing = [name for name in names if not (annotations / name).is_file()]
    if missing:
        raise ValueError(
            f"{benchmark}: {annotations} has no {', '.join(missing)}. "
            "Point `annotations` at the folder that holds the benchmark's annotation files."
        )
    return [annotations / name for name in names]


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError naming the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}). Fetch the annotation file again.") from None


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list. Raises ValueError, naming file and entry, for anything else and for an empty list."""
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: a list of entries is expected. Is it another file of the benchmark?")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, entry {index}: an object is expected, found {entry!r:.80}.")
    return entries


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object with something in it. Raises ValueError naming the file."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: an object of entries by name is expected. Is it another file of the benchmark?")
    return content


def read_text(entry: dict[str, Any], field: str, where: str) -> str:
    """The text in a field. Raises ValueError where it is missing, empty or no text."""
    value = entry.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: field {field!r} has to be a text, found {value!r:.80}.")
    return value
