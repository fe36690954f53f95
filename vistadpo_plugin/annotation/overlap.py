"""How much two annotations of the same thing have in common."""

from __future__ import annotations

from collections.abc import Sequence


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes [x, y, width, height] that have an area."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
