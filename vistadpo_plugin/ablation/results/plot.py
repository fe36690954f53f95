"""The forest plot: every rung's mean and every difference with their intervals, figure by figure."""

from __future__ import annotations

from pathlib import Path

from vistadpo_plugin.ablation.results.figures import CHOSEN, PROBE
from vistadpo_plugin.ablation.results.summary import Line, lines_of
from vistadpo_plugin.ablation.run import TEST, Outcome

PLOT = "forest.png"
_ALSO = ("total/overall", "overall", "average")
_LEVELS = tuple(f"{PROBE}/{name}" for name in ("video", "clip", "object", CHOSEN))

# Okabe-Ito colours, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")


def plot_forest(outcome: Outcome, path: Path) -> None:
    """A row of panels for the primary figure, the benchmarks' overall ones, the visual margins and log p(y_w).

    A colour a base.
    """
    from matplotlib.figure import Figure

    lines = lines_of(outcome, TEST)
    names = _drawn(outcome, lines)
    rungs = [line.rung for line in lines if line.against is None and line.base == lines[0].base]
    pairs = [(line.rung, line.against) for line in lines if line.against and line.base == lines[0].base]
    height = 0.9 + 0.28 * max(len(rungs), len(pairs))
    figure = Figure(figsize=(12, height * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 2, squeeze=False)
    for (means, differences), name in zip(panels, names, strict=True):
        _panel(means, [line for line in lines if line.against is None], name, rungs)
        _panel(differences, [line for line in lines if line.against is not None], name, pairs)
        differences.axvline(0, color="#999999", linewidth=0.8)
        means.set_title(f"{name} (test), mean over seeds and 95 % interval", fontsize=9)
        differences.set_title(f"{name} (test), paired differences", fontsize=9)
    bases = list(dict.fromkeys(line.base for line in lines))
    if len(bases) > 1:
        panels[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def _drawn(outcome: Outcome, lines: list[Line]) -> list[str]:
    names = dict.fromkeys(name for line in lines for name in line.figures)
    primary = outcome.ablation.primary
    also = [name for name in names if name.partition("/")[2] in _ALSO or name in _LEVELS]
    return list(dict.fromkeys([primary, *also]))


def _panel(axis, lines: list[Line], name: str, labels: list) -> None:
    """One point with its interval for every line that has the figure, the first label on top."""
    bases = list(dict.fromkeys(line.base for line in lines))
    for number, base in enumerate(bases):
        found = [line for line in lines if line.base == base and name in line.figures]
        keys = [line.rung if line.against is None else (line.rung, line.against) for line in found]
        shift = 0.3 * (number / (len(bases) - 1) - 0.5) if len(bases) > 1 else 0.0
        places = [labels.index(key) + shift for key in keys]
        estimates = [line.figures[name] for line in found]
        axis.errorbar(
            [one.value for one in estimates],
            places,
            xerr=[
                [max(0.0, one.value - one.low) for one in estimates],
                [max(0.0, one.high - one.value) for one in estimates],
            ],
            fmt="o",
            color=_COLOURS[number % len(_COLOURS)],
            markersize=4,
            capsize=2,
            label=base,
        )
        if estimates:
            axis.set_xlabel(estimates[0].unit, fontsize=8)
    texts = [label if isinstance(label, str) else f"{label[0]} - {label[1]}" for label in labels]
    axis.set_yticks(range(len(labels)), texts, fontsize=8)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=8)
