"""The result as one HTML file with everything in it, and as a picture."""

from __future__ import annotations

import base64
import io
import textwrap
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from vistadpo_plugin.demo.result import KINDS, LEVELS, Example, Interval, Result
from vistadpo_plugin.evaluation.probe.table import BASE, TUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito colours, as in the probe's picture.
_COLOURS = {BASE: "#E69F00", TUNED: "#0072B2"}
_GAP = 4
_PICTURED = 5
_PAPER = 255


def render_page(result: Result) -> str:
    """The page; no script, nothing fetched, light or dark as the reader's browser is."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    nats = [one for by_model in result.margins.values() for one in by_model.values()]
    low, high = min(0.0, *(one.low for one in nats)), max(0.0, *(one.high for one in nats))
    return template.render(
        result=result,
        models={BASE: "before", TUNED: "after"},
        groups=(
            ("Right answers", "%", KINDS, result.figures, 0.0, 100.0, ".0f"),
            ("Visual margins", "nats", LEVELS, result.margins, low, high, ".2f"),
        ),
        strips=[_data_uri(example) for example in result.examples],
        changed=sum(one.right[TUNED] and not one.right[BASE] for one in result.examples),
    )


def _join(example: Example) -> Image.Image:
    """The frames side by side."""
    side = example.frames[0].shape[0]
    strip = np.full((side, len(example.frames) * (side + _GAP) - _GAP, 3), _PAPER, dtype=np.uint8)
    for place, frame in enumerate(example.frames):
        strip[:, place * (side + _GAP) : place * (side + _GAP) + side] = frame
    return Image.fromarray(strip)


def _data_uri(example: Example) -> list[str]:
    uris = []
    for frame in example.frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=88)
        uris.append("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode())
    return uris


def draw_picture(result: Result, path: Path) -> None:
    """Figures and margins above, and below them the first videos with both models' answers."""
    from matplotlib.figure import Figure

    shown = result.examples[:_PICTURED]
    figure = Figure(figsize=(10, 3.0 + 1.45 * len(shown)), layout="constrained")
    rows = figure.add_gridspec(1 + len(shown), 2, height_ratios=[2.6, *[1.25] * len(shown)])
    _bars(figure.add_subplot(rows[0, 0]), KINDS, result.figures, "% right, by VideoHallucer's rule", ".0f", (0, 112))
    _bars(figure.add_subplot(rows[0, 1]), LEVELS, result.margins, "visual margins, nats", ".2f")
    for place, example in enumerate(shown, start=1):
        axis = figure.add_subplot(rows[place, :])
        axis.imshow(_join(example))
        axis.set_axis_off()
        axis.set_title(example.question, loc="left", fontsize=10, fontweight="bold")
        for model, height in ((BASE, 0.75), (TUNED, 0.25)):
            verdict = "\u2713" if example.right[model] else "\u2717"
            name = {BASE: "before", TUNED: "after"}[model]
            axis.annotate(
                textwrap.fill(f"{name} {verdict} {example.replies[model]}", 40),
                (1.01, height),
                xycoords="axes fraction",
                fontsize=9,
                va="center",
                color="#1b7a4a" if example.right[model] else "#b3261e",
                annotation_clip=False,
            )
    figure.savefig(path, dpi=110)


def _bars(
    axis: Axes,
    names: dict[str, str],
    values: dict[str, dict[str, Interval]],
    title: str,
    form: str,
    limits: tuple[float, float] | None = None,
) -> None:
    for shift, (model, label) in enumerate(((BASE, "before"), (TUNED, "after"))):
        found = [values[name][model] for name in names]
        places = np.arange(len(found)) + 0.4 * (shift - 0.5)
        errors = np.array([[one.mean - one.low, one.high - one.mean] for one in found]).T
        axis.bar(
            places,
            [one.mean for one in found],
            0.38,
            yerr=errors,
            capsize=3,
            color=_COLOURS[model],
            label=label,
        )
        for place, one in zip(places, found, strict=True):
            axis.annotate(f"{one.mean:{form}}", (place, max(one.high, 0)), ha="center", va="bottom", fontsize=8)
    axis.axhline(0, color="#999999", linewidth=0.8)
    axis.margins(y=0.18)
    if limits is not None:
        axis.set_ylim(*limits)
    else:  # one legend is enough, where there is room
        axis.legend(fontsize=8, frameon=False, ncols=2, loc="upper right")
    axis.set_xticks(range(len(names)), [f"{name}\n{about}" for name, about in names.items()], fontsize=7)
    axis.set_title(title, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
