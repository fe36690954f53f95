"""The facts of rows as aligned text: medians by owner, and how many negatives there are of each kind."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from vistadpo_plugin.curation.stats.measure import NOT_SAID, RowFacts

ALL = "all"
_NAME_WIDTH = 24


def by_owner(rows: Sequence[RowFacts]) -> dict[str, list[RowFacts]]:
    """The rows of each owner; the one with most rows first."""
    counts = Counter(row.owner for row in rows)
    owners = sorted(counts, key=lambda owner: (-counts[owner], owner))
    return {owner: [row for row in rows if row.owner == owner] for owner in owners}


def kinds_of(rows: Sequence[RowFacts]) -> list[str]:
    """The kinds of negatives, the most frequent first; what is not said comes last."""
    counts = Counter(row.kind for row in rows)
    return sorted(counts, key=lambda kind: (kind == NOT_SAID, -counts[kind], kind))


def video_seconds(rows: Sequence[RowFacts]) -> list[float]:
    """Length of every recording once, the longest of its files."""
    longest: dict[str, float] = {}
    for row in rows:
        if row.seconds is not None:
            longest[row.recording] = max(row.seconds, longest.get(row.recording, 0.0))
    return list(longest.values())


def format_facts(rows: Sequence[RowFacts], by: str) -> str:
    """Two tables; `by` is the field that tells owners apart."""
    owners = by_owner(rows)
    groups = owners if len(owners) == 1 else {**owners, ALL: rows}
    columns = [(name, [show(members) for members in groups.values()]) for name, show in _COLUMNS.items()]
    names = [by, *map(_short, groups)]
    lines = ["ROWS: counts, and medians over those that have it; answers in characters"]
    lines += _aligned([names, *([name, *cells] for name, cells in columns)])
    kinds = kinds_of(rows)
    counts = [Counter(row.kind for row in members) for members in groups.values()]
    lines += ["", "KINDS of negatives: rows"]
    lines += _aligned([names, *([_short(kind), *(str(count[kind]) for count in counts)] for kind in kinds)])
    return "\n".join(lines)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _NAME_WIDTH else f"{text[: _NAME_WIDTH - 3]}..."


def _aligned(columns: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in columns]
    return [
        "  " + "  ".join(f"{cell:<{width}}" if n == 0 else f"{cell:>{width}}" for n, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in zip(*columns, strict=True))
    ]


def _median(pick: Callable[[RowFacts], float | None], form: str) -> Callable[[Sequence[RowFacts]], str]:
    def show(rows: Sequence[RowFacts]) -> str:
        values = [value for value in map(pick, rows) if value is not None]
        return format(statistics.median(values), form) if values else "-"

    return show


def _count(has: Callable[[RowFacts], bool]) -> Callable[[Sequence[RowFacts]], str]:
    return lambda rows: str(sum(map(has, rows)))


def _seconds(rows: Sequence[RowFacts]) -> str:
    values = video_seconds(rows)
    return f"{statistics.median(values):.1f}" if values else "-"


_COLUMNS: dict[str, Callable[[Sequence[RowFacts]], str]] = {
    "rows": lambda rows: str(len(rows)),
    "recordings": lambda rows: str(len({row.recording for row in rows})),
    "video, s": _seconds,
    "events": _count(lambda row: row.event_seconds is not None),
    "event, s": _median(lambda row: row.event_seconds, ".1f"),
    "of video": _median(lambda row: row.event_share, ".0%"),
    "boxes": _count(lambda row: row.boxes > 0),
    "of frame": _median(lambda row: row.box_share, ".1%"),
    "chosen": _median(lambda row: row.characters.get("chosen"), "g"),
    "rejected": _median(lambda row: row.characters.get("rejected"), "g"),
    "irrelevant": _median(lambda row: row.characters.get("rejected_irrelevant"), "g"),
}
