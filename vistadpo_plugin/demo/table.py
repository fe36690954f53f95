"""What a training run changed, read from its log: margin and accuracy of each term at the start and at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import TERMS

FIRST, LAST = 3, 5  # logged steps averaged at the start and at the end

HEADINGS = ("term", "margin: start", "end", "accuracy: start", "end")
FILES = (
    ("log", ("trainer_log.jsonl", "trainer_state.json")),
    ("plots", ("training_*.png",)),
)


@dataclass(frozen=True)
class TermRow:
    """A term's mean margin (nats) and accuracy (share of rows) at both ends of a run; None: no step had the term."""

    term: str
    margin_start: float | None
    margin_end: float | None
    accuracy_start: float | None
    accuracy_end: float | None


@dataclass(frozen=True)
class LossChange:
    """The total loss of the first logged step and its mean over the last ones; None: no loss was logged."""

    start: float | None
    end: float | None


def _read_series(output_dir: Path, key: str) -> list[float]:
    """The logged values of `key` in order, without the steps that lack it or have NaN for want of rows."""
    path = output_dir / "trainer_state.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: no training run has finished in {output_dir}")
    history: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["log_history"]
    values = (entry.get(key) for entry in history)
    return [float(value) for value in values if value is not None and not math.isnan(value)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def read_terms(output_dir: Path) -> list[TermRow]:
    """The five terms of the run in `output_dir`: means over the first FIRST and the last LAST steps that had the term.

    Raises:
        FileNotFoundError: `output_dir` has no trainer_state.json.
    """
    rows: list[TermRow] = []
    for term in TERMS:
        margin = _read_series(output_dir, f"vista/{term}_margin")
        accuracy = _read_series(output_dir, f"vista/{term}_accuracy")
        rows.append(
            TermRow(
                term,
                _mean(margin[:FIRST]),
                _mean(margin[-LAST:]),
                _mean(accuracy[:FIRST]),
                _mean(accuracy[-LAST:]),
            )
        )
    return rows


def read_loss(output_dir: Path) -> LossChange:
    """The total loss at both ends of the run in `output_dir`; raises as `read_terms` does."""
    losses = _read_series(output_dir, "loss")
    return LossChange(_mean(losses[:1]), _mean(losses[-LAST:]))


def _show(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def format_files(output_dir: Path) -> str:
    """Where the adapter, the log and the plots lie; only what exists is named."""
    found: list[tuple[str, Path]] = []
    if (output_dir / "adapter_config.json").is_file():
        found.append(("adapter", output_dir))
    for label, patterns in FILES:
        found += [(label, path) for pattern in patterns for path in sorted(output_dir.glob(pattern))]
    return "\n".join(f"{label:<9}{path}" for label, path in found)


def format_table(terms: Sequence[TermRow], loss: LossChange) -> str:
    """Aligned plain text: a line for each term, then one for the total loss."""
    lines = [HEADINGS]
    for row in terms:
        margins = (_show(value, "+.3f") for value in (row.margin_start, row.margin_end))
        accuracies = (_show(value, ".2f") for value in (row.accuracy_start, row.accuracy_end))
        lines.append((row.term, *margins, *accuracies))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    table = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    table.append(f"loss: {_show(loss.start, '.3f')} at the first step, {_show(loss.end, '.3f')} at the end")
    return "\n".join(table)
