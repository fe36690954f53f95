"""What every build writes: rows, dataset_info.json, card, report and missing videos, and what is printed of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.dataset_info import merge_info, read_info, write_info, write_rows, write_text
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.source import Coverage


def nothing_left(coverages: Sequence[Coverage], allowed: bool) -> ValueError:
    """The error where every entry was left out; `allowed` tells whether missing videos were no reason."""
    without = "" if allowed else "; --allow-missing-videos goes without videos, for now"
    return ValueError(f"no row is left to write{without if any(one.missing for one in coverages) else ''}.")


class Output:
    """The files of one run, checked before its work. `files` gives the file of each split by its name.

    Raises ValueError for a file that is there already (unless `overwrite`) or has a wrong ending, and for a name that
    dataset_info.json has for something else.
    """

    def __init__(self, path: Path, name: str | None, val_share: float, overwrite: bool):
        self.folder, self.name = path.parent, name or path.stem
        self.files = {"train": path.name, "validation": f"{path.stem}_val{path.suffix}"}
        self._entries = {
            self.name if split == "train" else self._validation: {"file_name": file, "formatting": "vistadpo"}
            for split, file in self.files.items()
            if split == "train" or val_share
        }
        merge_info(
            self.folder, self._entries
        )  # a name that is taken, or a key that is missing, is said before the work
        # Rows of an earlier run that were held out then may be trained on now: their file is replaced too, or goes.
        known = read_info(self.folder).get(self._validation, {}).get("file_name") == self.files["validation"]
        self._stale = known and not val_share
        self._written = list(self.files) if val_share or known else ["train"]
        _check([self.folder / self.files[split] for split in self._written], overwrite)

    @property
    def _missing(self) -> Path:
        return self.folder / f"{self.name}.missing.txt"

    @property
    def _validation(self) -> str:
        return f"{self.name}_val"

    def list_missing(self, coverages: Sequence[Coverage]) -> None:
        """One missing video a line, for tools that fetch or look for them; no file where all are there."""
        missing = [video for coverage in coverages for video in coverage.missing]
        self.folder.mkdir(parents=True, exist_ok=True)
        if missing:
            write_text(self._missing, "".join(f"{video}\n" for video in missing))
        else:
            self._missing.unlink(missing_ok=True)

    def write(self, rows: dict[str, list[dict[str, Any]]], card: str, account: Account) -> None:
        """The rows of the splits that have some, the card, and what was left out."""
        for split in self._written:
            write_rows(self.folder / self.files[split], rows.get(split, []))
        write_text(self.folder / f"{self.name}.card.md", card)
        write_rows(self.folder / f"{self.name}.report.jsonl", account.entries())
        write_info(self.folder, self._entries, without=[self._validation] if self._stale else [])

    def say(
        self,
        account: Account,
        coverages: Sequence[Coverage],
        counts: dict[str, tuple[int, int]],
        frames_per_second: float | None = None,
    ) -> None:
        """Print the account, which videos are there, (rows, videos) of each split, and the lines for a recipe."""
        print(account.format())
        for coverage in coverages:
            print(coverage.sentence() + (f": {self._missing}" if coverage.missing else ""))
        for split, (rows, videos) in counts.items():
            print(f"{split}: {rows} rows about {videos} videos in {self.folder / self.files[split]}")
        print(f"card: {self.folder / f'{self.name}.card.md'}")
        if account.entries():
            print(f"in detail: {self.folder / f'{self.name}.report.jsonl'}")
        evaluation = f"\n  eval_dataset: {self._validation}" if "validation" in counts else ""
        frames = f"\n  video_fps: {frames_per_second:g}" if frames_per_second else ""
        print(f"In a recipe:\n  dataset: {self.name}{evaluation}\n  dataset_dir: {self.folder}{frames}")


def _check(files: list[Path], overwrite: bool) -> None:
    for path in files:
        if path.suffix != ".jsonl":
            raise ValueError(f"--output has to end in .jsonl, {path} does not.")
        if path.exists() and not overwrite:
            raise ValueError(f"{path} is there already; give --overwrite to replace it, or another --output.")
