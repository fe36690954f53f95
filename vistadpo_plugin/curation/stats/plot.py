"""The picture of a set of rows: six panels, each owner in its colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vistadpo_plugin.curation.stats.measure import ANSWERS, RowFacts
from vistadpo_plugin.curation.stats.table import by_owner, kinds_of, video_seconds

# Okabe-Ito colours, told apart by colour-blind readers too; the last is for all owners beyond.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
_OTHERS = "others"
_BINS, _KINDS_SHOWN, _LABEL = 24, 12, 28


def plot_facts(rows: Sequence[RowFacts], path: Path) -> None:
    """Draw lengths of videos and events, boxes, answers and kinds into a PNG."""
    from matplotlib.figure import Figure

    owners = _drawn(by_owner(rows))
    colours = dict(zip(owners, _COLOURS, strict=False))
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    _stacked(axes[0][0], {owner: video_seconds(members) for owner, members in owners.items()}, colours)
    axes[0][0].set(title="videos: length", xlabel="seconds", ylabel="recordings")
    panels: list[tuple[Any, str, str, Callable[[RowFacts], float | None]]] = [
        (axes[0][1], "events: length", "seconds", lambda row: row.event_seconds),
        (axes[0][2], "events: share of the video", "per cent", lambda row: _per_cent(row.event_share)),
        (axes[1][0], "boxes: share of the frame", "per cent", lambda row: _per_cent(row.box_share)),
    ]
    for axis, title, unit, pick in panels:
        values = {owner: [v for v in map(pick, members) if v is not None] for owner, members in owners.items()}
        _stacked(axis, values, colours)
        axis.set(title=title, xlabel=unit, ylabel="rows")
    _answers(axes[1][1], owners, colours)
    _kinds(axes[1][2], owners, colours)
    for axis in axes.flat:
        axis.tick_params(labelsize=8)
    handles = [_patch(colours[owner]) for owner in owners]
    figure.legend(handles, [owner[:_LABEL] for owner in owners], loc="outside lower center", ncols=4, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, format="png")


def _drawn(owners: dict[str, list[RowFacts]]) -> dict[str, list[RowFacts]]:
    """As many owners as there are colours; the smallest together when there are more."""
    if len(owners) <= len(_COLOURS):
        return owners
    names = list(owners)
    shown = {name: owners[name] for name in names[: len(_COLOURS) - 1]}
    return shown | {_OTHERS: [row for name in names[len(shown) :] for row in owners[name]]}


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _stacked(axis: Any, values: dict[str, list[float]], colours: dict[str, str]) -> None:
    """A histogram, the owners on top of each other."""
    given = {owner: numbers for owner, numbers in values.items() if numbers}
    if not given:
        axis.text(0.5, 0.5, "no row says", ha="center", va="center", transform=axis.transAxes, color="#666666")
        axis.set(xticks=[], yticks=[])
        return
    most = max(max(numbers) for numbers in given.values())
    edges = np.linspace(0, most or 1, _BINS + 1)
    axis.hist(list(given.values()), bins=edges, stacked=True, color=[colours[owner] for owner in given])
    axis.set_xlim(0, edges[-1])
    axis.locator_params("y", integer=True)  # there is no half of a row


def _answers(axis: Any, owners: dict[str, list[RowFacts]], colours: dict[str, str]) -> None:
    """For each answer and owner a bar between the quartiles, the median, a line from the 5th to the 95th per cent."""
    height = 0.8 / len(owners)
    for place, name in enumerate(ANSWERS):
        for number, (owner, members) in enumerate(owners.items()):
            lengths = [row.characters[name] for row in members if name in row.characters]
            if lengths:
                low, first, middle, third, high = np.percentile(lengths, [5, 25, 50, 75, 95])
                at = place - 0.4 + (number + 0.5) * height
                axis.plot([low, high], [at, at], color=colours[owner], linewidth=1)
                axis.barh(at, third - first, 0.8 * height, left=first, color=colours[owner])
                axis.plot([middle, middle], [at - 0.4 * height, at + 0.4 * height], color="#000000", linewidth=1.5)
    axis.set_yticks(range(len(ANSWERS)), ["chosen", "rejected", "irrelevant"])
    axis.set_ylim(len(ANSWERS) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set(title="answers: quartiles and 5th to 95th per cent", xlabel="characters")


def _kinds(axis: Any, owners: dict[str, list[RowFacts]], colours: dict[str, str]) -> None:
    rows = [row for members in owners.values() for row in members]
    kinds = kinds_of(rows)
    shown = kinds[:_KINDS_SHOWN]
    left = np.zeros(len(shown))
    for owner, members in owners.items():
        counts = np.array([sum(row.kind == kind for row in members) for kind in shown])
        axis.barh(range(len(shown)), counts, left=left, color=colours[owner])
        left += counts
    axis.locator_params("x", integer=True)
    axis.set_yticks(range(len(shown)), [kind[:_LABEL] for kind in shown])
    axis.set_ylim(len(shown) - 0.5, -0.5)
    more = f" ({len(kinds) - len(shown)} more kinds)" if len(kinds) > len(shown) else ""
    axis.set(title=f"negatives: kinds{more}", xlabel="rows")


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour)
