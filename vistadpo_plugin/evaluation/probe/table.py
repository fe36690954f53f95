"""What a probe found, put together: mean, standard error and share above 0 of every margin, as a table and as JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BASE, TUNED, CHANGE = "base", "tuned", "change"
LEVELS = {
    "relevant": "log p(y_w|v) - log p(y_re|v)",
    "irrelevant": "log p(y_w|v) - log p(y_irr|v)",
    "video": "log p(y_w|v) - log p(y_w|v-)",
    "clip": "log p(y_w|c+) - log p(y_w|c-)",
    "object": "log p(y_w|f+) - log p(y_w|f-)",
}
"""The margins by level, in nats, each within one model: answers are compared on one view, views under one answer. Of a
list of rejected answers y_re is the first."""


@dataclass(frozen=True)
class ProbedRow:
    """One row: `tokens` of each answer, and for each model (BASE, TUNED) the log-probabilities in nats by `view/answer`
    and the margins by level. A level that the row does not have is absent.
    """

    row: str
    tokens: dict[str, int]
    log_probs: dict[str, dict[str, float]]
    margins: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Spread:
    """Values of `rows` rows: mean and its standard error in nats (None for one row), and the share of those above 0."""

    rows: int
    mean: float
    standard_error: float | None
    above_zero: float


def spread(values: Sequence[float]) -> Spread:
    """Sample standard deviation (n - 1) over the root of n; `values` has at least one."""
    count = len(values)
    error = statistics.stdev(values) / math.sqrt(count) if count > 1 else None
    return Spread(count, statistics.fmean(values), error, sum(value > 0 for value in values) / count)


def margins_of(rows: Sequence[ProbedRow], level: str, which: str) -> list[float]:
    """The margins of the rows that have the level: of BASE or TUNED, or how far tuning moved each row's (CHANGE)."""
    if which == CHANGE:
        pairs = ((row.margins[TUNED], row.margins[BASE]) for row in rows if TUNED in row.margins)
        return [tuned[level] - base[level] for tuned, base in pairs if level in base]
    return [row.margins[which][level] for row in rows if level in row.margins.get(which, {})]


def summarize(rows: Sequence[ProbedRow]) -> dict[str, dict[str, Spread]]:
    """For each level that a row has: the spread of every model's margins, and of the change where there are two."""
    found = {}
    for level in LEVELS:
        values = {which: margins_of(rows, level, which) for which in (BASE, TUNED, CHANGE)}
        if values[BASE]:
            found[level] = {which: spread(numbers) for which, numbers in values.items() if numbers}
    return found


def format_table(rows: Sequence[ProbedRow]) -> str:
    """One line a level: the rows that have it, and mean ± standard error and share above 0 of models and change."""
    summary = summarize(rows)
    columns = [which for which in (BASE, TUNED, CHANGE) if any(which in one for one in summary.values())]
    lines = [f"{'level':<11}{'rows':>5}" + "".join(f"{which:>20}{'above 0':>9}" for which in columns)]
    for level in LEVELS:
        if level not in summary:
            lines.append(f"{level:<11}{0:>5}" + f"{'-':>20}{'-':>9}" * len(columns))
            continue
        spreads = [summary[level][which] for which in columns]
        cells = "".join(f"{_show(one):>20}{100 * one.above_zero:>8.1f}%" for one in spreads)
        lines.append(f"{level:<11}{spreads[0].rows:>5}{cells}")
    lines.append("Margins in nats, mean ± standard error over the rows that have the level:")
    return "\n".join([*lines, *(f"  {level:<11}{margin}" for level, margin in LEVELS.items() if level in summary)])


def _show(one: Spread) -> str:
    error = "-" if one.standard_error is None else f"{one.standard_error:.3f}"
    return f"{one.mean:+.3f} ± {error}"


def write_json(path: Path, rows: Sequence[ProbedRow], about: dict[str, Any]) -> None:
    """`about` the run, the summary by level, and one entry a row."""
    levels = {
        level: {"margin": LEVELS[level], **{which: asdict(one) for which, one in spreads.items()}}
        for level, spreads in summarize(rows).items()
    }
    content = {"about": about, "unit": "nats", "levels": levels, "rows": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
