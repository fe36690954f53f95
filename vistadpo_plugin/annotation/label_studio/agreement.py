"""How far annotators agree: Cohen's kappa for accepting, intersection over union for events and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vistadpo_plugin.annotation.label_studio.page import ACCEPT
from vistadpo_plugin.annotation.label_studio.reviews import Review, Reviewed
from vistadpo_plugin.annotation.label_studio.units import Ticks


@dataclass(frozen=True)
class Agreement:
    """Of two annotators: rows both judged, the share where both accept or neither does, kappa (None: undefined), and

    the mean IoU of events and of boxes over so many rows that both accepted (None: over none).
    """

    annotators: tuple[str, str]
    rows: int
    share: float
    kappa: float | None
    events: int
    event_iou: float | None
    boxes: int
    box_iou: float | None


def cohens_kappa(one: Sequence[bool], other: Sequence[bool]) -> float | None:
    """(p_o - p_e) / (1 - p_e) (Cohen 1960); None where chance alone makes both say the same always."""
    count = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / count
    yes, yes_other = sum(one) / count, sum(other) / count
    expected = yes * yes_other + (1 - yes) * (1 - yes_other)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def ticks_iou(one: Sequence[Ticks], other: Sequence[Ticks]) -> float:
    """Ticks in both over ticks in any of two sets of ranges whose last ticks are included."""
    first, second = ({tick for a, b in ranges for tick in range(a, b + 1)} for ranges in (one, other))
    return len(first & second) / len(first | second)


def boxes_iou(one: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> float:
    """Area in both over area in any of two sets of boxes; boxes of one set may overlap."""
    edges = [np.unique([edge for box in (*one, *other) for edge in _span(box, side)]) for side in ("x", "y")]
    first, second = (_covered(boxes, *edges) for boxes in (one, other))
    areas = np.outer(np.diff(edges[0]), np.diff(edges[1]))
    union = areas[first | second].sum()
    return float(areas[first & second].sum() / union) if union else 0.0


def _span(box: dict[str, float], side: str) -> tuple[float, float]:
    return box[side], box[side] + box["width" if side == "x" else "height"]


def _covered(boxes: Sequence[dict[str, float]], xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Which cells of the grid that all edges make lie in any box: bool (columns, rows)."""
    covered = np.zeros((len(xs) - 1, len(ys) - 1), dtype=bool)
    for box in boxes:
        (left, right), (top, bottom) = _span(box, "x"), _span(box, "y")
        covered |= np.outer((xs[:-1] >= left) & (xs[1:] <= right), (ys[:-1] >= top) & (ys[1:] <= bottom))
    return covered


def agreements(reviewed: list[Reviewed]) -> list[Agreement]:
    """Of every two annotators who judged a row in common, in order of their names."""
    by_annotator: dict[str, dict[int, Review]] = {}
    for number, each in enumerate(reviewed):
        for review in each.reviews:
            by_annotator.setdefault(review.annotator, {})[number] = review
    found = []
    for one, other in combinations(sorted(by_annotator), 2):
        common = sorted(by_annotator[one].keys() & by_annotator[other].keys())
        pairs = [(by_annotator[one][number], by_annotator[other][number]) for number in common]
        if pairs:
            found.append(_agreement((one, other), pairs))
    return found


def _agreement(names: tuple[str, str], pairs: list[tuple[Review, Review]]) -> Agreement:
    verdicts = [(a.verdict == ACCEPT, b.verdict == ACCEPT) for a, b in pairs]
    edits = [(a, b) for a, b in pairs if a.verdict == b.verdict == ACCEPT and a.loaded and b.loaded]
    events = [ticks_iou(a.events, b.events) for a, b in edits if a.events or b.events]
    boxes = [boxes_iou(a.boxes, b.boxes) for a, b in edits if a.boxes or b.boxes]
    return Agreement(
        names,
        len(pairs),
        sum(a == b for a, b in verdicts) / len(pairs),
        cohens_kappa(*map(list, zip(*verdicts, strict=True))),
        len(events),
        sum(events) / len(events) if events else None,
        len(boxes),
        sum(boxes) / len(boxes) if boxes else None,
    )
