"""The rungs' keys against the paper: Eq. 14's weights and the rows of its Table 3, written down by hand."""

from __future__ import annotations

from typing import Any

import pytest

from vistadpo_plugin.ablation.ladder import BASE, LADDER, TABLE3, Ladder
from vistadpo_plugin.arguments import VistaArguments

WEIGHTS = ("response", "video", "clip", "object", "token", "relevant", "irrelevant")

# L_r, L_v, L_c, L_o, L_t, then the two negatives. Its VideoHallucer overall: 38.1, 39.8, 46.6, 49.4, 52.8, 53.0, 54.3.
PAPER = {
    "dpo": (1, 0, 0, 0, 0, 1, 0),
    "response": (1, 0, 0, 0, 0, 0.7, 0.3),
    "response_video": (1, 1, 0, 0, 0, 0.7, 0.3),
    "response_video_clip": (1, 1, 0.4, 0, 0, 0.7, 0.3),
    "without_object": (1, 1, 0.4, 0, 0.1, 0.7, 0.3),
    "without_clip": (1, 1, 0, 0.2, 0.1, 0.7, 0.3),
    "full": (1, 1, 0.4, 0.2, 0.1, 0.7, 0.3),
}
# The ladder: one thing more on every rung; `same_compute` is vanilla DPO again.
STEPS = {
    "dpo": (1, 0, 0, 0, 0, 1, 0),
    "dpo_same_compute": (1, 0, 0, 0, 0, 1, 0),
    "two_negatives": (1, 0, 0, 0, 0, 0.7, 0.3),
    "video": (1, 1, 0, 0, 0, 0.7, 0.3),
    "clip": (1, 1, 0.4, 0, 0, 0.7, 0.3),
    "object": (1, 1, 0.4, 0.2, 0, 0.7, 0.3),
    "full": (1, 1, 0.4, 0.2, 0.1, 0.7, 0.3),
}


def weights(keys: dict[str, Any]) -> tuple[float, ...]:
    vista = VistaArguments(**keys)
    vista.check_vista_values()
    return tuple(getattr(vista, f"vista_{name}_weight") for name in WEIGHTS)


def test_table_3_is_the_papers() -> None:
    assert {rung.name: weights(rung.keys) for rung in TABLE3.rungs} == PAPER


def test_the_ladder_adds_one_thing_at_a_time() -> None:
    sft, *others = LADDER.rungs
    assert (sft.name, sft.keys) == ("sft", {"stage": "sft"})
    assert {rung.name: weights(rung.keys) for rung in others} == STEPS
    assert [rung.name for rung in others if rung.same_compute_as == "full"] == ["dpo_same_compute"]


def test_a_recipes_own_weights_stay() -> None:
    """A rung switches terms off and touches nothing else: `full` is the recipe itself."""
    own = {"vista_video_weight": 0.5, "vista_clip_weight": 0.25, "vista_token_weight": 0.75}
    clip = next(rung for rung in LADDER.rungs if rung.name == "clip")
    assert weights({**own, **clip.keys}) == (1, 0.5, 0.25, 0, 0, 0.7, 0.3)
    assert LADDER.rungs[-1].keys == {}


@pytest.mark.parametrize("ladder", [LADDER, TABLE3], ids=["ladder", "table3"])
def test_what_is_compared_is_there(ladder: Ladder) -> None:
    names = [BASE, *(rung.name for rung in ladder.rungs)]
    assert {name for pair in ladder.compared for name in pair} == set(names)
    assert all(names.index(later) > names.index(earlier) for later, earlier in ladder.compared)
