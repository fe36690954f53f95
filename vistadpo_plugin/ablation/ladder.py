"""The rungs of a ladder: what each changes in the keys that all runs share.

Rungs switch terms off and leave the weights of the others to the recipe, so the last rung is the recipe itself: with
the default weights the paper's full objective, Eq. 14.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BASE = "base"
"""The rung without training; every ladder begins with it."""

_NO_TOKEN = {"vista_token_weight": 0.0}
_NO_OBJECT = {"vista_object_weight": 0.0, **_NO_TOKEN}
_NO_CLIP = {"vista_clip_weight": 0.0, **_NO_OBJECT}
_RESPONSE = {"vista_video_weight": 0.0, **_NO_CLIP}
_VANILLA = {"vista_relevant_weight": 1.0, "vista_irrelevant_weight": 0.0, **_RESPONSE}


@dataclass(frozen=True)
class Rung:
    """`keys` change those of every run; `same_compute_as` names the rung whose cost this one's steps are raised to."""

    name: str
    keys: dict[str, Any] = field(default_factory=dict)
    same_compute_as: str | None = None

    @property
    def is_sft(self) -> bool:
        return self.keys.get("stage") == "sft"


@dataclass(frozen=True)
class Ladder:
    """Rungs that train, in order, and the (rung, the one it is held against) whose differences are reported."""

    rungs: tuple[Rung, ...]
    compared: tuple[tuple[str, str], ...]


def neighbours(names: list[str]) -> list[tuple[str, str]]:
    """Every rung against the one before it."""
    return [(later, earlier) for earlier, later in zip([BASE, *names], names, strict=False)]


def some_of(ladder: Ladder, names: list[str]) -> Ladder:
    """The rungs of these names, in the ladder's order, and the comparisons that are left of it.

    A rung that is left with none is held against the one before it.
    """
    rungs = [rung for rung in ladder.rungs if rung.name in names]
    compared = [pair for pair in ladder.compared if {BASE, *names}.issuperset(pair)]
    alone = [pair for pair in neighbours([rung.name for rung in rungs]) if pair[0] not in dict(compared)]
    return Ladder(tuple(rungs), (*compared, *alone))


LADDER = Ladder(
    (
        Rung("sft", {"stage": "sft"}),
        Rung("dpo", _VANILLA),
        Rung("dpo_same_compute", _VANILLA, same_compute_as="full"),
        Rung("two_negatives", _RESPONSE),
        Rung("video", _NO_CLIP),
        Rung("clip", _NO_OBJECT),
        Rung("object", _NO_TOKEN),
        Rung("full"),
    ),
    (
        ("sft", BASE),
        ("dpo", BASE),
        ("dpo", "sft"),
        ("dpo_same_compute", "dpo"),
        ("two_negatives", "dpo"),
        ("video", "two_negatives"),
        ("clip", "video"),
        ("object", "clip"),
        ("full", "object"),
        ("full", "sft"),
        ("full", "dpo"),
        ("full", "dpo_same_compute"),
    ),
)
"""One thing is added at a time; SFT on y_w and DPO with as much compute are the controls."""

_TABLE3 = (
    Rung("dpo", _VANILLA),
    Rung("response", _RESPONSE),
    Rung("response_video", _NO_CLIP),
    Rung("response_video_clip", _NO_OBJECT),
    Rung("without_object", {"vista_object_weight": 0.0}),
    Rung("without_clip", {"vista_clip_weight": 0.0}),
    Rung("full"),
)
TABLE3 = Ladder(
    _TABLE3, (*neighbours([rung.name for rung in _TABLE3]), ("full", "without_object"), ("full", BASE), ("full", "dpo"))
)
"""The rows of the paper's Table 3, from the least to the most."""

LADDERS = {"ladder": LADDER, "table3": TABLE3}
