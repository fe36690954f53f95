"""How far two right computations in float32 may lie apart, from what the numbers are. tests/test_rounding.py holds what
these bounds let through, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

# Half a unit in the last place of 1 in float32: what one operation on numbers of size 1 may be off by.
UNIT = 2.0**-24


def rounding(operations: int, size: float = 1.0) -> float:
    """What so many float32 operations on numbers of `size` may be off by, in one order of them or another.

    Each is off by anything within UNIT * size, with a standard deviation of UNIT * size / sqrt(3). Independent ones add
    up like a random walk, to sqrt(operations) times that; three standard deviations are sqrt(3 * operations) * UNIT *
    size. (The worst case, all of one sign, would be operations * UNIT * size.)
    """
    return math.sqrt(3 * operations) * UNIT * size


# On the way to a logit of the tiny models: 3 layers of 7 matrices, whose sums have about 190 terms.
LOGIT = 3 * 7 * 190

BETA = 0.1

# What a margin of the tiny models may be off by, in nats. It is made of the log-probabilities of two answers by policy
# and reference, each of about 12 tokens of about 6 nats: 48 logits of size 6, independently off by rounding(LOGIT).
NATS = rounding(LOGIT * 4 * 12, size=6.0)

# What a term's loss may be off by: -log sigmoid(BETA * margin) has a slope of at most BETA. The whole loss is the sum
# of five terms with the weights 1, 1, 0.4, 0.2 and 0.1.
LOSS = BETA * NATS
WHOLE_LOSS = 2.7 * LOSS

# What an entry of a gradient may be off by, as a share of its tensor's largest, 2.1e-4: about 500 positions of a batch
# each add what has gone forward and back through LOGIT operations, each at most of the size of what comes of them all.
SHARE = rounding(2 * LOGIT * 500)

# The same where the largest entry is 0.1, 2.1e-5, as it is or less in half of the tiny models' gradients. Where
# positions cancel, what is left of them is smaller than they are, and the rounding is not.
GRADIENT = 0.1 * SHARE


def assert_gradients_alike(
    one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], atol: float = GRADIENT, share: float = SHARE
) -> None:
    """Every entry of every tensor differs by at most `share` of the tensor's largest, or by `atol` if that is more."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.shape == other[name].shape, name
        apart, largest = float((value - other[name]).abs().max()), float(other[name].abs().max())
        assert apart <= max(atol, share * largest), (name, apart, largest)


# The share of their way by which weights may differ on average, see `assert_moved_alike`.
MOVED = 1e-4


def assert_moved_alike(
    one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], learning_rate: float, steps: int
) -> None:
    """Weights after the same steps of Adam: in every tensor they differ by less than MOVED of the way, on average.

    Adam moves a weight by learning_rate * m / sqrt(v), at first by the whole rate, whatever the size of its gradient. A
    gradient that is 0 but for rounding has a sign that is rounding: two right runs may move that one weight to opposite
    sides, 2 * learning_rate a step, so no bound on single weights below that holds, and one above says nothing.

    A weight whose gradient is a share t of the usual one moves off by about r / t of the rate, where r is the relative
    rounding of a usual gradient: rounding(LOGIT), 6.5e-6. With t spread evenly between 0 and 1 the mean over weights is
    r * (1 + log(1 / r)), which is 8.4e-5.
    """
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.shape == other[name].shape, name
        apart = float((other[name].double() - value.double()).abs().mean())
        assert apart < MOVED * learning_rate * steps, (name, apart)
