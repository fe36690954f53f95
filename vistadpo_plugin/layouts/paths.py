"""Paths of a row's files, as they have to read in another folder's data file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Rebase:
    """Turns a path that is looked for below `media_dir` into one that is found below `folder`.

    Absolute paths stay. Nothing has to exist: a path found neither below `media_dir` nor below the current folder is
    taken to belong below `media_dir`.
    """

    media_dir: Path
    folder: Path

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, str) or os.path.isabs(value):
            return value
        media_dir, folder = os.path.realpath(self.media_dir), os.path.realpath(self.folder)
        if media_dir == folder:
            return value
        base = os.getcwd() if not os.path.exists(self.media_dir / value) and os.path.exists(value) else media_dir
        return Path(os.path.relpath(os.path.join(base, value), folder)).as_posix()


class FolderNames:
    """A folder name for every row out of its id: safe as a path, and a row's own where ids repeat."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, identifier: str) -> str:
        parts = [re.sub(r"[^\w.\-]", "_", part) for part in identifier.split("/")]
        name = "/".join(part for part in parts if part.strip(".")) or "row"
        unique, number = name, 1
        while unique in self._taken:
            number += 1
            unique = f"{name}-{number}"
        self._taken.add(unique)
        return unique
