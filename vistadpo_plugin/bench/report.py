"""What was measured -> a table, a JSON file and a picture, all with ratios to the host's plain DPO step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vistadpo_plugin.bench.build import RUNS
from vistadpo_plugin.bench.presets import Preset


@dataclass(frozen=True)
class Result:
    """One way of training over all rounds: seconds a step, MiB, and the rest as the last round had it.

    `padding` is the share of an epoch's positions that are padding.
    """

    run: str
    steps: list[float]
    peak_mib: float
    encodes_per_row: float
    tokens_per_row: float
    data_seconds_per_row: float
    padding: float
    device: str
    peak_flops: float | None

    @property
    def seconds(self) -> float:
        return median(self.steps)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        ordered = sorted(self.steps)
        return (ordered[(3 * len(ordered)) // 4] - ordered[len(ordered) // 4]) / 2 / self.seconds


def collect(run: str, rounds: list[dict[str, Any]]) -> Result:
    """The rounds of one run as one result."""
    last = rounds[-1]
    return Result(
        run,
        [seconds for measured in rounds for seconds in measured["steps"]],
        median(measured["peak_mib"] for measured in rounds),
        last["encodes_per_row"],
        last["tokens_per_row"],
        median(measured["data_seconds_per_row"] for measured in rounds),
        last["padding"],
        last["device"],
        last.get("peak_flops"),
    )


def utilisation(result: Result, preset: Preset) -> float | None:
    """Share of the device's peak that the language model's own arithmetic takes (recomputation not counted).

    Two operations a weight and token for a forward, and two more for the gradient of its input where there is one: with
    LoRA the frozen weights have none of their own. A policy's tokens are half of all where the reference runs too.
    """
    if result.peak_flops is None:
        return None
    layer = 4 * preset.hidden**2 + 3 * preset.hidden * preset.ffn
    passes = 2 * 2 if result.run in ("warm", "kept") else (2 * 2 + 2) / 2
    operations = passes * preset.layers * layer * result.tokens_per_row * preset.batch
    return operations / result.seconds / result.peak_flops


def table(results: list[Result], preset: Preset, decode: dict[str, float] | None) -> str:
    """A Markdown table, the first result being what the others are compared with."""
    base = results[0]
    columns = ("run", "s a step", "spread", "ratio", "tokens/s", "peak MiB", "ratio")
    columns += ("encodes a row", "positions a row", "padding", "data s a row")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for result in results:
        lines.append(
            f"| {RUNS[result.run]} | {result.seconds:.2f} | ± {result.spread:.0%} "
            f"| {result.seconds / base.seconds:.2f} "
            f"| {result.tokens_per_row * preset.batch / result.seconds:.0f} | {result.peak_mib:.0f} "
            f"| {result.peak_mib / base.peak_mib:.2f} | {result.encodes_per_row:g} | {result.tokens_per_row:.0f} "
            f"| {result.padding:.1%} | {result.data_seconds_per_row:.3f} |"
        )
    used = [(RUNS[result.run], utilisation(result, preset)) for result in results]
    lines += [f"\nutilisation, {name}: {share:.0%} of the measured peak" for name, share in used if share is not None]
    known = {result.run: result.seconds for result in results}
    if "cold" in known:
        ratios = [
            f"{label} {known[run] / known['cold']:.2f}"
            for run, label in (("separate", "separate rows / ours"), ("released", "released schedule / ours"))
            if run in known
        ]
        ratios += [
            f"{label} answer on the full video {known[run] / known[before] - 1:+.1%}"
            for run, before, label in (("four", "cold", "a fourth"), ("five", "four", "a fifth"))
            if run in known and before in known
        ]
        lines += ["", "; ".join(ratios)] if ratios else []
    if decode is not None:
        share = decode["views_seconds"] / decode["host_seconds"]
        lines.append(
            f"\nevery view of a 30 s 720p mp4 in {decode['views_seconds']:.2f} s, the host's decode of the file once "
            f"{decode['host_seconds']:.2f} s: {share:.2f}"
        )
    return "\n".join(lines)


def write(
    folder: Path, results: list[Result], preset: Preset, decode: dict[str, float] | None, about: dict[str, Any]
) -> None:
    """bench.json, bench.md and bench.png in `folder`."""
    content = {**about, "results": [vars(result) for result in results], "decode": decode}
    (folder / "bench.json").write_text(json.dumps(content, indent=1))
    (folder / "bench.md").write_text(table(results, preset, decode) + "\n")
    _draw(results, folder / "bench.png", f"{about['preset']}: {preset.about}")


def _draw(results: list[Result], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 0.9 + 0.62 * len(results)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    names = [RUNS[result.run] for result in results]
    base = results[0]
    drawn = (
        (axes[0], [result.seconds / base.seconds for result in results], "time of a step"),
        (axes[1], [result.peak_mib / base.peak_mib for result in results], "peak memory"),
    )
    for axis, ratios, label in drawn:
        colours = ["#999999", *["#0072B2"] * (len(ratios) - 1)]
        bars = axis.barh(names, ratios, color=colours, height=0.62)
        axis.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=4)
        axis.axvline(1, color="#444444", linewidth=0.8, linestyle=":")
        axis.set(xlabel=f"{label}, host's plain DPO = 1", xlim=(0, 1.15 * max(ratios)))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
