"""Means over seeds with 95 % intervals: a bootstrap over questions and seeds, in which comparisons stay paired.

A replicate draws questions (pairs, rows: whatever a benchmark counts as one) with replacement, the same ones for every
model, and seeds with replacement, the same ones for both rungs of a comparison. What two models share, hard questions
and lucky data orders, so drops out of their difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Measured:
    """A figure of one model: its `value`, and `replicates` (B,) of it over drawn questions; `unit` is % or nats."""

    value: float
    replicates: np.ndarray
    unit: str


@dataclass(frozen=True)
class Estimate:
    """A figure, or the difference of two, over seeds: mean and interval; of `seeds` values `above` are over 0."""

    value: float
    low: float
    high: float
    seeds: int
    above: int
    unit: str


@dataclass(frozen=True)
class Quotient:
    """The mean of one figure over that of another, both over `seeds` seeds, with its interval."""

    value: float
    low: float
    high: float
    seeds: int


def draw_weights(strata: Sequence[str], replicates: int, seed: int) -> np.ndarray:
    """(B, units) how often each unit is drawn; every stratum keeps its size, as a benchmark's subsets have one."""
    rng = np.random.default_rng(seed)
    names = np.asarray(strata)
    weights = np.zeros((replicates, len(names)))
    for name in dict.fromkeys(strata):
        (members,) = np.nonzero(names == name)
        weights[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=replicates)
    return weights


def ratios(totals: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) sum of totals over sum of counts, each (units,), of the drawn units; NaN where nothing counts."""
    drawn = weights @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ totals) / drawn


def ranks(pair_wins: np.ndarray, true_weights: np.ndarray, false_weights: np.ndarray) -> np.ndarray:
    """(B,) the rank of drawn questions: of `rank.wins` (T, F), with weights (B, T) and (B, F)."""
    pairs = true_weights.sum(axis=1) * false_weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((true_weights @ pair_wins) * false_weights).sum(axis=1) / pairs


def estimate(by_base: Sequence[Sequence[Measured]], seed: int = 0) -> Estimate:
    """The mean over seeds, and over bases where there are several: those are fixed, only seeds and questions are drawn.

    With one seed the interval is over questions alone.
    """
    rng = np.random.default_rng(seed)
    drawn = np.mean([_drawn_means(measured, rng) for measured in by_base], axis=0)
    every = [one.value for measured in by_base for one in measured]
    unit = by_base[0][0].unit
    mean = float(np.mean([_mean(measured) for measured in by_base]))
    return Estimate(mean, *_interval(drawn), len(every), sum(value > 0 for value in every), unit)


def quotient(pairs: Sequence[tuple[Measured, Measured]], seed: int = 0) -> Quotient | None:
    """The mean of the first of each pair over the mean of the second, the same questions and seeds drawn for both.

    None where the interval of what is divided by reaches 0: multiples of that say nothing.
    """
    ones, others = zip(*pairs, strict=True)
    above, below = (_drawn_means(measured, np.random.default_rng(seed)) for measured in (ones, others))
    if _interval(below)[0] <= 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):  # of 2,000 draws some may be 0 all the same
        return Quotient(_mean(ones) / _mean(others), *_interval(above / below), len(pairs))


def _mean(measured: Sequence[Measured]) -> float:
    return float(np.mean([one.value for one in measured]))


def _drawn_means(measured: Sequence[Measured], rng: np.random.Generator) -> np.ndarray:
    """(B,) means over drawn seeds, of drawn questions.

    Drawing n seeds of n with replacement makes their mean vary less than it does, by (n - 1) / n; their distances from
    the mean are stretched accordingly.
    """
    values = np.stack([one.replicates for one in measured])  # (seeds, B)
    count, replicates = values.shape
    middle = values.mean(axis=0)
    if count == 1:
        return middle
    drawn = rng.integers(count, size=(count, replicates))
    moved = np.take_along_axis(values, drawn, axis=0).mean(axis=0) - middle
    return middle + moved * np.sqrt(count / (count - 1))


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def difference(one: Measured, other: Measured) -> Measured:
    """Of two models on the same drawn questions."""
    return Measured(one.value - other.value, one.replicates - other.replicates, one.unit)
