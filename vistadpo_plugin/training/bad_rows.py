"""Rows that cannot be used: found before the first step, reported, and recorded where the run goes on without them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from llamafactory.extras import logging

from vistadpo_plugin.data.rows.lengths import needs_cutoff
from vistadpo_plugin.data.rows.processor import ANSWERS, answer_ids
from vistadpo_plugin.data.tokens.control_tokens import TokenKinds, read_found
from vistadpo_plugin.data.views.frames import FrameCounts

logger = logging.get_logger("llamafactory.vistadpo")

SKIPPED_ROWS = "skipped_rows.jsonl"
_ROWS_SHOWN = 10


class SkippedRows:
    """Appends every row once, also when it comes back in a later epoch."""

    def __init__(self, output_dir: str):
        self.path = os.path.join(output_dir, SKIPPED_ROWS)
        self.known: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Forget what an earlier run wrote."""
        if os.path.exists(self.path):
            os.remove(self.path)

    def add(self, dataset: str, rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Write (place, reason) of rows not seen before; returns those."""
        new = [entry for entry in dict.fromkeys(map(tuple, rows)) if entry not in self.known]
        if new:
            self.known.update(new)
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                for where, reason in new:
                    entry = {"dataset": dataset, "row": where, "reason": reason}
                    file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        return new


def row_errors(dataset: Any, frames: FrameCounts, kinds: TokenKinds, cutoff_len: int) -> dict[int, tuple[str, str]]:
    """(where, why) of every processed row that cannot be used or does not fit `cutoff_len`, by index."""
    errors = {}
    known = [frames.tokens(count) or 0 for count in frames.per_view().values() if count]
    video_tokens = max(known, default=0)
    ids = [f"{name}_ids" for name in ANSWERS]
    columns = ("where", "error", "grounded", "text_tokens", "added_tokens", "more_rejected", *ids)
    for index, values in enumerate(zip(*(dataset[column] for column in columns), strict=True)):
        row = dict(zip(columns, values, strict=True))
        longest = max(map(len, answer_ids(row).values()), default=0)
        needed = row["text_tokens"] + longest + (video_tokens if row["grounded"] else 0)
        error = row["error"] or kinds.media_error(read_found(row["added_tokens"]))
        if error:
            errors[index] = (row["where"], error)
        elif needed > cutoff_len:
            errors[index] = (row["where"], needs_cutoff(needed, cutoff_len))
    return errors


def report_bad_rows(
    name: str, errors: dict[int, tuple[str, str]], total: int, skip: bool, skipped: SkippedRows | None
) -> None:
    """Stop, or say which rows go, and write them down where `skipped` is given (on the saving rank).

    Raises ValueError with the rows and reasons unless bad rows are to `skip` and some good ones are left.
    """
    shown = "\n".join(f"  {where}: {why}" for where, why in list(errors.values())[:_ROWS_SHOWN])
    more = f"\n  and {len(errors) - _ROWS_SHOWN} more" if len(errors) > _ROWS_SHOWN else ""
    found = f"{len(errors)} of {total} rows of the {name.replace('_', ' ')} cannot be used:\n{shown}{more}"
    if not skip or len(errors) == total:
        hint = "" if len(errors) == total else ", or set `vista_on_bad_row: skip` to train without them"
        raise ValueError(f"{found}\nCorrect them{hint}.")
    logger.warning_rank0(f"{found}\nThey are skipped and listed in skipped_rows.jsonl in the output folder.")
    if skipped is not None:
        skipped.add(name, errors.values())
