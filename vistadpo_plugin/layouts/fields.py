"""A row's fields under native and under released names. Values pass as they are; fields not ours pass too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vistadpo_plugin.data.rows.values import Box, read_box

TO_NATIVE = {"rejected_2": "rejected_irrelevant", "frame": "keyframe", "bbox": "box"}
PATH_FIELDS = ("video", "clip_w", "clip_l", "keyframe", "rejected_video", "rejected_clip", "rejected_keyframe")
ORDER = (
    "id", "video", "prompt", "chosen", "rejected", "rejected_weights", "rejected_irrelevant", "phrases", "event",
    "clip_w", "clip_l", "keyframe", "box", "rejected_video", "rejected_clip", "rejected_keyframe",
    "holds_in_rejected_view", "group",
)  # fmt: skip


def to_native(source: dict[str, Any], rebase: Callable[[Any], Any]) -> dict[str, Any]:
    """A row that `parse_row` takes under native names, its paths rebased. `clip_w` and `clip_l` have no other name."""
    row = {TO_NATIVE.get(name, name): value for name, value in source.items()}
    if isinstance(row.get("box"), str):
        row["box"] = list(read_box(row["box"]))
    for name in PATH_FIELDS:
        if name in row:
            row[name] = rebase(row[name])
    return in_order(row, ORDER)


def in_order(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The same fields, `names` first."""
    return {name: row[name] for name in (*names, *row) if name in row}


def released_box(box: Box) -> str:
    """A box as the released sample spells it: floats in a string without braces."""
    return ", ".join(f"'{name}': {float(number)}" for name, number in zip("xywh", box, strict=True))
