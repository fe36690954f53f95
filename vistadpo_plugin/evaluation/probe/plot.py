"""The picture of a probe: every row's margin, level by level, the base beside the tuned model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vistadpo_plugin.evaluation.probe.table import BASE, LEVELS, TUNED, ProbedRow, margins_of, spread

# Okabe-Ito colours, told apart by colour-blind readers too.
_COLOURS = {BASE: "#E69F00", TUNED: "#0072B2"}


def plot_probe(rows: Sequence[ProbedRow], path: Path) -> None:
    """One panel a level that a row has: a dot a row, and over them the mean with two standard errors to each side."""
    from matplotlib.figure import Figure

    levels = [level for level in LEVELS if margins_of(rows, level, BASE)]
    models = [which for which in (BASE, TUNED) if margins_of(rows, levels[0], which)]
    figure = Figure(figsize=(9, 0.6 + (0.5 + 0.45 * len(models)) * len(levels)), layout="constrained")
    axes = figure.subplots(len(levels), 1, squeeze=False)[:, 0]
    jitter = np.random.default_rng(0)
    for axis, level in zip(axes, levels, strict=True):
        axis.axvline(0, color="#999999", linewidth=0.8)
        for place, which in enumerate(models):
            values = margins_of(rows, level, which)
            heights = place + jitter.uniform(-0.28, 0.28, len(values))
            axis.plot(values, heights, ".", color=_COLOURS[which], alpha=0.45, markersize=6, markeredgewidth=0)
            found = spread(values)
            axis.errorbar(
                found.mean,
                place,
                xerr=2 * (found.standard_error or 0),
                fmt="o",
                color=_COLOURS[which],
                markeredgecolor="#000000",
                ecolor="#000000",
                capsize=4,
                markersize=7,
            )
        axis.set_yticks(range(len(models)), models)
        axis.set_ylim(len(models) - 0.5, -0.5)
        axis.set_title(f"{level}: {LEVELS[level]}, {len(values)} rows", loc="left", fontsize=9)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel("margin in nats; a small dot is a row, the large one the mean ± 2 standard errors", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
