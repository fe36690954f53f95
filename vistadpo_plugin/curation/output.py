"""Data files and their entries in dataset_info.json, written so that old rows never stand beside new ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vistadpo_plugin.curation.entries import Entry
from vistadpo_plugin.data.rows.dataset_info import merge_info, read_info, write_info, write_rows
from vistadpo_plugin.datasets.accounting import Account


@dataclass(frozen=True)
class Output:
    """Where to write: DATA.jsonl for the set `name`, and DATA_PART.jsonl for `name_PART`.

    `former` are files and entries of parts that an earlier run made and this one does not: they go.
    """

    path: Path
    name: str
    parts: tuple[str, ...] = ()
    former: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """The file of every data set, by its name; the first has no part's name."""
        return {self.name: self.path} | {f"{self.name}_{part}": self.file_of(part) for part in self.parts}

    def file_of(self, part: str) -> Path:
        return self.path.with_name(f"{self.path.stem}_{part}{self.path.suffix}")

    def write(self, entries: Sequence[Sequence[Entry]], account: Account) -> None:
        """One list of entries a file, in the order of `files`. What `account` has to tell goes into a report."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        lines = [[entry.line(folder) for entry in members] for members in entries]
        gone = [self.file_of(part) for part in self.former]
        write_together(dict(zip(self.files.values(), lines, strict=True)), gone)
        write_rows(folder / f"{self.name}.report.jsonl", account.entries())
        write_info(folder, self._info(), without=[f"{self.name}_{part}" for part in self.former])

    def _info(self) -> dict[str, dict[str, str]]:
        return {name: {"file_name": file.name, "formatting": "vistadpo"} for name, file in self.files.items()}


def plan_output(
    path: Path,
    name: str | None,
    inputs: Sequence[str],
    overwrite: bool,
    parts: Sequence[str] = (),
    possible: Sequence[str] = (),
) -> Output:
    """Where to write, before any work. `possible` are the parts that a run may make, `parts` those this one makes.

    Raises ValueError for a name that is no .jsonl or is an input, for a file that is there unless `overwrite`, and for
    a data set's name that is taken, see `merge_info`.
    """
    if path.suffix != ".jsonl":
        raise ValueError(f"--output has to end in .jsonl, {path} does not.")
    output = Output(path, name or path.stem, tuple(parts))
    known = read_info(path.parent)
    former = [
        part
        for part in possible
        if part not in parts and known.get(f"{output.name}_{part}", {}).get("file_name") == output.file_of(part).name
    ]
    output = Output(path, output.name, output.parts, tuple(former))
    read = {os.path.realpath(file) for file in inputs}
    for file in [*output.files.values(), *(output.file_of(part) for part in former)]:
        if os.path.realpath(file) in read:
            raise ValueError(f"{file} is read as input; give --output another name.")
        if file.exists() and not overwrite:
            raise ValueError(f"{file} is there already; give --overwrite to replace it, or another --output.")
    merge_info(path.parent, output._info())
    return output


def write_together(lines: dict[Path, list[str]], gone: Sequence[Path] = ()) -> None:
    """Write files of lines; wherever this ends early, there is no mixture of old and new ones.

    All are written beside their places first. Then the former others go, before the first takes its place: an old
    validation set beside new training rows could hold the same videos.
    """
    parts = {path: path.with_name(path.name + ".part") for path in lines}
    try:
        for path, content in lines.items():
            parts[path].write_text("".join(f"{line}\n" for line in content), encoding="utf-8", newline="\n")
        first, *others = lines
        for path in (*others, *gone):
            path.unlink(missing_ok=True)
        for path in (first, *others):
            os.replace(parts[path], path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise
