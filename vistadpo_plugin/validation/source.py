"""Which files of rows a path, or the name of a data set in dataset_info.json, stands for."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from typing import Any

from vistadpo_plugin.data.rows import strict_json

DATASET_INFO = "dataset_info.json"
SUFFIXES = (".jsonl", ".json")


@dataclass(frozen=True)
class Source:
    """Files of rows, and the folder below which their videos are looked for when nothing else is said."""

    name: str
    files: tuple[str, ...]
    media_dir: str


def find_source(data: str, dataset_dir: str | None) -> Source:
    """The rows that `data` means: a name where `dataset_dir` is given, as in a recipe, else a path.

    Raises ValueError.
    """
    if dataset_dir is not None:
        return _named(data, dataset_dir)
    if not os.path.exists(data):
        raise ValueError(
            f"{data}: no such file. To name a data set of a {DATASET_INFO}, say with --dataset-dir where that is."
        )
    folder = data if os.path.isdir(data) else os.path.dirname(data)
    return Source(os.path.basename(os.path.normpath(data)), _files(data), folder or ".")


def _named(name: str, dataset_dir: str) -> Source:
    path = os.path.join(dataset_dir, DATASET_INFO)
    try:
        with open(path, encoding="utf-8") as stream:
            known = strict_json.loads(stream.read())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; --dataset-dir is the folder that holds it.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}).") from None
    if not isinstance(known, dict) or not isinstance(known.get(name), dict):
        raise ValueError(f"{path} has no data set {name!r}.{_suggestion(name, known)}")
    entry = known[name]
    if entry.get("formatting") != "vistadpo":
        raise ValueError(
            f'the data set {name!r} of {path} has `"formatting": {json.dumps(entry.get("formatting", "alpaca"))}`; '
            'only rows of `"formatting": "vistadpo"` are read here.'
        )
    if not isinstance(entry.get("file_name"), str):
        raise ValueError(f"the data set {name!r} of {path} names no `file_name`; only local files are read here.")
    return Source(name, _files(os.path.join(dataset_dir, entry["file_name"])), dataset_dir)


def _suggestion(name: str, known: Any) -> str:
    names = [str(key) for key in known] if isinstance(known, dict) else []
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(names[:20]) or 'none'}."


def _files(path: str) -> tuple[str, ...]:
    """The file, or all files of a folder, which the host takes as one data set."""
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such file.")
    files = (path,)
    if os.path.isdir(path):
        files = tuple(sorted(os.path.join(path, name) for name in os.listdir(path)))
    other = [file for file in files if not file.endswith(SUFFIXES) or not os.path.isfile(file)]
    if other or not files:
        found = f"{other[0]} is not one" if other else f"{path} is an empty folder"
        raise ValueError(f"rows are read from JSON lines and JSON lists ({', '.join(SUFFIXES)}); {found}.")
    return files
