"""The record of rows a run left out: `skipped_rows.jsonl` in the output folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

SKIPPED_ROWS = "skipped_rows.jsonl"


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
