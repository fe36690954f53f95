"""Entries in a folder's dataset_info.json, the host's list of data sets, beside whatever else is listed there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows import strict_json

DATASET_INFO = "dataset_info.json"


def read_info(folder: Path) -> dict[str, Any]:
    """What the folder's list holds; empty when there is none.

    Raises ValueError for a file that is no list of data sets: it is the user's, and nothing is written over it.
    """
    path = folder / DATASET_INFO
    if not path.exists():
        return {}
    try:
        content = strict_json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); correct or move it, it is not overwritten.") from None
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise ValueError(f"{path} is no list of data sets ({{name: {{...}}}}); correct or move it.")
    return content


def merge_info(folder: Path, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The folder's list with `entries` added, in the place of entries about the same files.

    Raises ValueError when a name is taken by a data set in another file, see also `read_info`.
    """
    content = read_info(folder)
    for name, entry in entries.items():
        taken = content.get(name)
        if taken is not None and taken.get("file_name") != entry["file_name"]:
            raise ValueError(
                f"{folder / DATASET_INFO} lists another data set named {name!r} "
                f"({taken.get('file_name') or 'not a file'}); choose a name with --name."
            )
        content[name] = entry
    return content


def write_info(folder: Path, entries: dict[str, dict[str, Any]], without: Sequence[str] = ()) -> None:
    """Add `entries` to the folder's list and take the names `without` off it. Raises ValueError, see `merge_info`."""
    content = {name: entry for name, entry in merge_info(folder, entries).items() if name not in without}
    write_text(folder / DATASET_INFO, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the whole new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as JSON lines; no rows, no file: one of an earlier run goes."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
