"""What `feed.py` measured -> a table, and how many loader workers feed a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from vistadpo_plugin.bench.decoders import OURS
from vistadpo_plugin.bench.feed import COLLATOR, SHAPE

NAMES = {
    COLLATOR: "the whole collator",
    OURS: "decoding the same frames into arrays: ours",
    "torchcodec": "decoding the same frames into arrays: torchcodec",
    "decord": "decoding the same frames into arrays: decord",
}


@dataclass(frozen=True)
class Cost:
    """One way on videos of one length, per row: seconds of one core, seconds of the clock, frames."""

    length: str
    way: str
    core_seconds: float
    clock_seconds: float
    frames: float


def costs(turns: list[dict[str, Any]]) -> list[Cost]:
    """Per length and way: the median of a micro-batch's rounds, then over the micro-batches that every way has done."""
    ways = list(dict.fromkeys(turn["way"] for turn in turns))
    found = []
    for length in dict.fromkeys(turn["length"] for turn in turns):
        done = [{turn["batch"] for turn in turns if (turn["length"], turn["way"]) == (length, way)} for way in ways]
        for way in ways:
            mine = [
                [turn for turn in turns if (turn["batch"], turn["way"]) == (batch, way)]
                for batch in sorted(set.intersection(*done))
            ]
            if mine:
                rows = sum(batch[0]["rows"] for batch in mine)
                core, clock, frames = (
                    sum(median(turn[field] for turn in batch) for batch in mine) / rows
                    for field in ("core_seconds", "clock_seconds", "frames")
                )
                found.append(Cost(length, way, core, clock, frames))
    return found


def workers(row_seconds: float, rows: int, step_seconds: float) -> int:
    """Loader workers, a core each, that make a step's rows while the step before it runs."""
    return math.ceil(rows * row_seconds / step_seconds)


def feed_summary(measured: dict[str, Any], step_seconds: list[float]) -> dict[str, Any]:
    """For bench.json: the costs, rows a second a core, and the workers for steps of so many seconds."""
    found = costs(measured["turns"])
    return {
        "absent": measured["absent"],
        "other_pictures": measured["other_pictures"],
        "costs": [vars(cost) for cost in found],
        "rows_per_second_per_core": {cost.length: 1 / cost.core_seconds for cost in found if cost.way == COLLATOR},
        "workers": [
            {
                "step_seconds": seconds,
                "rows": SHAPE.batch,
                "length": cost.length,
                "workers": workers(cost.core_seconds, SHAPE.batch, seconds),
            }
            for seconds in step_seconds
            for cost in found
            if cost.way == COLLATOR
        ],
        "turns": measured["turns"],
    }


def feed_table(summary: dict[str, Any]) -> str:
    """A Markdown table with ratios to the collator, and below it workers and what was not measured."""
    columns = ("video", "what", "frames a row", "core s a row", "rows/s a core", "ratio", "clock s a row")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    found = [Cost(**cost) for cost in summary["costs"]]
    whole = {cost.length: cost.core_seconds for cost in found if cost.way == COLLATOR}
    for cost in found:
        lines.append(
            f"| {cost.length} | {NAMES[cost.way]} | {cost.frames:g} | {cost.core_seconds:.2f} "
            f"| {1 / cost.core_seconds:.2f} | {cost.core_seconds / whole[cost.length]:.2f} | {cost.clock_seconds:.2f} |"
        )
    lines += [""] + [
        f"a step of {one['rows']} rows in {one['step_seconds']:g} s, {one['length']} videos: "
        f"{one['workers']} loader worker{'' if one['workers'] == 1 else 's'}"
        for one in summary["workers"]
    ]
    lines += [f"{name}: {why}" for name, why in summary["absent"].items()]
    lines += [f"{name}: its pictures are not the frames asked for" for name in summary["other_pictures"]]
    return "\n".join(lines)
