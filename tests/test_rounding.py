"""The bounds of tests/rounding.py: what float32 does stays below them, and small faults do not."""

from __future__ import annotations

import math

import pytest
import torch
from rounding import BETA, LOGIT, MOVED, NATS, WHOLE_LOSS, assert_gradients_alike, assert_moved_alike, rounding


@pytest.mark.parametrize("terms", [10, 200, 4000])
def test_sums_in_two_orders_differ_by_less(terms: int) -> None:
    """Every addition is rounded at the size of the sum so far; one term that is left out is far above the bound."""
    numbers = torch.rand(200, terms, generator=torch.Generator().manual_seed(terms))
    there, back = torch.zeros(2, 200)
    for column in range(terms):
        there = there + numbers[:, column]
        back = back + numbers[:, -1 - column]
    apart = (there - back).abs().max().item()
    bound = rounding(2 * terms, size=terms / 2)
    assert 0 < apart < bound
    assert numbers.median() > 5 * bound


def softmax_margins(dtype: torch.dtype, off: float = 0.0) -> torch.Tensor:
    """100 margins of 4 answers of 12 tokens, from logits made in `dtype`; the first token is `off` nats away."""
    draw = torch.Generator().manual_seed(1)
    hidden, head = torch.randn(4800, 96, generator=draw), torch.randn(96, 768, generator=draw) * 0.3
    log_probs = (hidden.to(dtype) @ head.to(dtype)).log_softmax(-1)[:, 5]
    log_probs[0] += off
    answers = log_probs.view(100, 4, 12).sum(-1)
    return (answers[:, 0] - answers[:, 1] - (answers[:, 2] - answers[:, 3])).double()


def test_margins_differ_by_less_than_the_bound_and_a_hundredth_of_a_nat_does_not() -> None:
    exact = softmax_margins(torch.float64)
    apart = (softmax_margins(torch.float32) - exact).abs().max()
    assert 0 < apart < NATS
    off = (softmax_margins(torch.float32, off=0.01) - exact).abs().max()
    assert off > 30 * NATS
    loss = math.log(1 + math.exp(BETA * off)) - math.log(2)  # of a margin that should be 0
    assert loss > 5 * WHOLE_LOSS


def gradient(noise: float = 0.0, positions: int = 500, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """What so many positions add to the gradient of a matrix, each off by `noise` of its size (3 standard deviations);
    the largest entry is about 0.1."""
    draw = torch.Generator().manual_seed(4)
    back, forward = torch.randn(500, 96, generator=draw), torch.randn(500, 96, generator=draw)
    off = 1 + noise / 3 * torch.randn(500, 1, generator=draw)
    return {"weight": ((back * off)[:positions].to(dtype).T @ forward[:positions].to(dtype)).float() * 1e-3}


def test_gradients_are_alike_under_rounding_and_not_under_a_fault() -> None:
    """A fault of 0.1 % in one row of 96 is five times what is allowed: 1e-4 of 0.1 against 2.1e-5."""
    right = gradient(dtype=torch.float64)
    assert 0.05 < right["weight"].abs().max() < 0.2
    assert_gradients_alike(gradient(), right)
    assert_gradients_alike(gradient(rounding(2 * LOGIT)), right)
    spoilt = right["weight"].clone()
    spoilt[spoilt.abs().argmax() // 96] *= 1.001
    faults = {
        "a row off by 0.1 %": {"weight": spoilt},
        "a position left out": gradient(positions=499),
        "the mean over one rank too few": {"weight": right["weight"] * 2},
        "rows of another order": {"weight": right["weight"].flip(0)},
        "in bfloat16": gradient(dtype=torch.bfloat16),
    }
    for name, wrong in faults.items():
        with pytest.raises(AssertionError):
            assert_gradients_alike(wrong, right)
            pytest.fail(name, pytrace=False)


def adam(noise: float, steps: int = 3, learning_rate: float = 1e-3, bias: float = 0.0) -> dict[str, torch.Tensor]:
    """Weights after Adam on gradients spread evenly around 0, each off by at most `noise` of the usual size."""
    draw, other = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    weight = torch.nn.Parameter(torch.zeros(200, 200))
    optimizer = torch.optim.Adam([weight], lr=learning_rate)
    for _ in range(steps):
        gradient, off = (torch.rand(200, 200, generator=g) * 2 - 1 for g in (draw, other))
        weight.grad = gradient + noise * off + bias
        optimizer.step()
    return {"weight": weight.detach()}


def test_weights_move_alike_under_rounding_and_not_under_a_fault() -> None:
    right, rounded = adam(0.0), adam(rounding(LOGIT))
    assert (right["weight"] - rounded["weight"]).abs().max() > MOVED * 1e-3  # one weight alone says nothing
    assert_moved_alike(right, rounded, 1e-3, 3)
    faults = {
        "a rate off by 1 %": adam(0.0, learning_rate=1.01e-3),
        "a step too few": adam(0.0, steps=2),
        "gradients off by 0.1 %": adam(1e-3),
        "one more term in every gradient": adam(0.0, bias=1e-3),
    }
    for name, weights in faults.items():
        with pytest.raises(AssertionError):
            assert_moved_alike(right, weights, 1e-3, 3)
            pytest.fail(name, pytrace=False)
