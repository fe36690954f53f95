"""Layers that run once because what they keep fits, against layers that are computed again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Run
from torch.utils.checkpoint import checkpoint

from vistadpo_plugin.scoring.fast.kept_activations import GIB, KeptActivations


class Layer(torch.nn.Module):
    """exp, then a product with a weight that is not trained; counts its runs. exp keeps its result, the product only
    the weight: one tensor of activations."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((10, 10), 0.01), requires_grad=False)
        self.runs = 0
        self._gradient_checkpointing_func: Callable[..., Any] = lambda function, *args: checkpoint(
            function, *args, use_reentrant=False
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._gradient_checkpointing_func(self._run, x)

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return x.exp() @ self.weight


# float32 (25, 10): what one layer keeps.
BYTES = 25 * 10 * 4


def stack(budget: float) -> tuple[torch.nn.Sequential, KeptActivations]:
    model = torch.nn.Sequential(*(Layer() for _ in range(4)))
    return model, KeptActivations(model, budget)


def step(model: torch.nn.Sequential, kept: KeptActivations) -> torch.Tensor:
    x = torch.linspace(-1, 1, 250).view(25, 10).requires_grad_(True)
    kept.start()
    model(x).sum().backward()
    return x.grad


@pytest.mark.parametrize(
    ("budget", "runs"),
    [(0, [2, 2, 2, 2]), (2 * BYTES, [1, 1, 2, 2]), (3 * BYTES - 1, [1, 1, 2, 2]), (1e9, [1, 1, 1, 1])],
)
def test_layers_run_once_while_the_budget_lasts(budget: float, runs: list[int]) -> None:
    """A layer that would go over the budget is computed again."""
    model, kept = stack(budget)
    gradient = step(model, kept)
    assert [layer.runs for layer in model] == runs
    assert kept.kept == runs.count(1) * BYTES
    plain, _ = stack(0)
    assert torch.equal(gradient, step(plain, kept))


def test_what_a_layer_keeps_is_learnt_from_the_first() -> None:
    """Which goes over a budget of 1 byte, once; a longer input keeps more, so that two of them do not fit where four
    short ones did."""
    model, kept = stack(1)
    step(model, kept)
    step(model, kept)
    assert [layer.runs for layer in model] == [3, 4, 4, 4]
    model, kept = stack(4 * BYTES)
    step(model, kept)
    assert [layer.runs for layer in model] == [1, 1, 1, 1]
    kept.start()
    model(torch.zeros(75, 10, requires_grad=True)).sum().backward()
    assert [layer.runs for layer in model] == [2, 3, 3, 3]


def test_every_step_has_the_whole_budget() -> None:
    model, kept = stack(BYTES)
    step(model, kept)
    step(model, kept)
    assert [layer.runs for layer in model] == [2, 4, 4, 4]


def test_without_gradients_nothing_is_counted() -> None:
    model, kept = stack(1e9)
    with torch.no_grad():
        model(torch.zeros(25, 10))
    assert kept.kept == 0


def test_what_was_kept_is_let_go() -> None:
    """Without the garbage collector's help: exp keeps its own result, which must not hold on to the graph behind it."""
    model, _ = stack(1e9)
    gc.disable()
    try:
        x = torch.zeros(25, 10, requires_grad=True)
        held = weakref.ref(x)
        result = model(x)
        del x, result
        assert held() is None
    finally:
        gc.enable()


def test_the_recipe_decides_and_the_losses_stay_the_same(
    train: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None kept, some kept, all kept: the same losses to the last digit."""
    stats: list[KeptActivations] = []
    own = KeptActivations.__init__

    def recorded(self: KeptActivations, *args: Any) -> None:
        own(self, *args)
        stats.append(self)

    monkeypatch.setattr(KeptActivations, "__init__", recorded)
    losses = [train(max_steps=2, vista_activation_memory=memory).series("loss") for memory in (0, 8)]
    none, everything = (stat.kept for stat in stats)
    losses.append(train(max_steps=2, vista_activation_memory=0.7 * everything / GIB).series("loss"))
    assert losses[0] == losses[1] == losses[2] and len(losses[0]) == 2
    assert none == 0 and 0 < stats[2].kept <= 0.7 * everything < 8 * GIB
