"""One picture of a run: the loss, the margin of every term and the chosen answer's log-probability over the steps."""

from __future__ import annotations

import math
import os
from typing import Any

from vistadpo_plugin.arguments import TERMS

PLOT_NAME = "training_vista_margins.png"

# Okabe-Ito colours, told apart by colour-blind readers too.
_COLOURS = dict(zip(TERMS, ("#000000", "#0072B2", "#009E73", "#D55E00", "#CC79A7"), strict=True))


def plot_margins(log_history: list[dict[str, Any]], folder: str) -> str:
    """Draw loss, margins and log p(y_w|v) from the trainer's log into `folder`; returns the picture's path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.2), layout="constrained")
    loss_axis, margin_axis, chosen_axis = figure.subplots(1, 3)
    steps, losses = _series(log_history, "loss")
    loss_axis.plot(steps, losses, color="#000000", marker="." if len(steps) < 40 else "")
    loss_axis.set(title="loss (weighted sum of the terms)", xlabel="step", ylabel="nats")
    margin_axis.axhline(0, color="#999999", linewidth=0.8)
    for term in TERMS:
        steps, margins = _series(log_history, f"vista/{term}_margin")
        if steps:
            marker = "." if len(steps) < 40 else ""
            margin_axis.plot(steps, margins, color=_COLOURS[term], label=term, marker=marker)
    margin_axis.set(title="margin of each term", xlabel="step", ylabel="nats")
    margin_axis.legend()
    steps, chosen = _series(log_history, "vista/chosen_logps")
    chosen_axis.plot(steps, chosen, color="#000000", marker="." if len(steps) < 40 else "")
    chosen_axis.set(title="log p(y_w|v): does the chosen answer itself fall?", xlabel="step", ylabel="nats")
    path = os.path.join(folder, PLOT_NAME)
    figure.savefig(path, dpi=110)
    return path


def _series(log_history: list[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    points = [(entry["step"], entry[key]) for entry in log_history if key in entry and math.isfinite(entry[key])]
    return [step for step, _ in points], [value for _, value in points]
