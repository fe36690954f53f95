"""Intervals and differences by routes of their own: textbook errors, resampling with loops, closed forms."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest

from vistadpo_plugin.ablation.results.statistics import (
    Measured,
    difference,
    draw_weights,
    estimate,
    quotient,
    ranks,
    ratios,
)
from vistadpo_plugin.evaluation.rank import auc, wins

REPLICATES = 20_000


def measured(values: list[float], weights: np.ndarray) -> Measured:
    ones = np.ones(len(values))
    return Measured(statistics.fmean(values), ratios(np.array(values), ones, weights), "%")


def test_one_seed_has_the_textbook_error_of_a_mean() -> None:
    """Mean of 400 numbers: the interval is 1.96 standard errors to each side, of the deviation with n."""
    rng = random.Random(0)
    values = [rng.gauss(3, 2) for _ in range(400)]
    found = estimate([[measured(values, draw_weights(["a"] * 400, REPLICATES, 1))]])
    half = 1.96 * statistics.pstdev(values) / 20
    assert found.value == pytest.approx(statistics.fmean(values))
    assert found.low == pytest.approx(found.value - half, abs=0.03 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.03 * half)


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_seeds_alone_have_the_textbook_error_of_their_mean(seeds: int) -> None:
    """Questions that all models answer alike: the bootstrap's variance is s^2 / n, s^2 being the one over n - 1."""
    rng = random.Random(seeds)
    values = [rng.gauss(60, 5) for _ in range(seeds)]
    models = [Measured(value, np.full(REPLICATES, value), "%") for value in values]
    found = estimate([models])
    if seeds == 8:  # many enough for the normal distribution
        half = 1.96 * statistics.stdev(values) / math.sqrt(seeds)
        assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    if seeds == 2:  # means of two draws of (a, b): a, b or the middle; a and b half the time, stretched by root 2
        middle, apart = statistics.fmean(values), abs(values[0] - values[1])
        assert (found.low, found.high) == pytest.approx(
            (middle - apart / math.sqrt(2), middle + apart / math.sqrt(2)), abs=1e-9
        )
    assert (found.seeds, found.above) == (seeds, seeds)


def test_a_difference_is_paired() -> None:
    """Two models that differ by 1 on every hard and every easy question: no question and no seed can hide that."""
    rng = random.Random(3)
    weights = draw_weights(["a"] * 50, 500, 0)
    first = [[rng.gauss(0, 10) for _ in range(50)] for _ in range(3)]
    second = [[value + 1 for value in values] for values in first]
    found = estimate(
        [[difference(measured(b, weights), measured(a, weights)) for a, b in zip(first, second, strict=True)]]
    )
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    assert found.above == 3
    alone = estimate([[measured(values, weights) for values in second]])
    assert alone.high - alone.low > 3


def test_differences_as_a_loop_over_drawn_questions_and_seeds_has_them() -> None:
    """The whole bootstrap once more, with lists and loops. 30 questions, 4 seeds, two rungs."""
    rng = random.Random(5)
    one, other = ([[float(rng.random() < p) for _ in range(30)] for _ in range(4)] for p in (0.7, 0.5))
    weights = draw_weights(["a"] * 30, REPLICATES, 0)
    pairs = list(zip(one, other, strict=True))
    found = estimate([[difference(measured(a, weights), measured(b, weights)) for a, b in pairs]])

    drawn = []
    for _ in range(REPLICATES):
        questions = [rng.randrange(30) for _ in range(30)]
        by_seed = [statistics.fmean(a[q] - b[q] for q in questions) for a, b in pairs]
        middle = statistics.fmean(by_seed)
        moved = statistics.fmean(rng.choices(by_seed, k=4)) - middle
        drawn.append(middle + moved * math.sqrt(4 / 3))
    drawn.sort()
    assert found.low == pytest.approx(drawn[int(0.025 * REPLICATES)], abs=0.01)
    assert found.high == pytest.approx(drawn[int(0.975 * REPLICATES)], abs=0.01)
    assert found.value == pytest.approx(statistics.fmean(a - b for x, y in pairs for a, b in zip(x, y, strict=True)))


def test_a_quotient_is_paired_and_of_means() -> None:
    """Twice as much on every question of every seed: twice, whatever is drawn. Means are divided, no ratios meant."""
    rng = random.Random(4)
    weights = draw_weights(["a"] * 40, 500, 0)
    first = [[rng.uniform(1, 9) for _ in range(40)] for _ in range(3)]
    pairs = [(measured([2 * value for value in values], weights), measured(values, weights)) for values in first]
    found = quotient(pairs)
    assert (found.value, found.low, found.high, found.seeds) == pytest.approx((2, 2, 2, 3))
    ones = np.ones(10)
    pairs = [(Measured(a, a * ones, "nats"), Measured(b, b * ones, "nats")) for a, b in [(1, 4), (9, 1)]]
    assert quotient(pairs).value == 2.0  # 10 / 5; the mean of 1/4 and 9 would be 4.6


def test_a_quotient_as_a_loop_over_drawn_questions_and_seeds_has_it() -> None:
    rng = random.Random(6)
    one, other = ([[rng.gauss(middle, 1) for _ in range(30)] for _ in range(4)] for middle in (6, 3))
    weights = draw_weights(["a"] * 30, REPLICATES, 0)
    pairs = list(zip(one, other, strict=True))
    found = quotient([(measured(a, weights), measured(b, weights)) for a, b in pairs])

    drawn = []
    for _ in range(REPLICATES):
        questions, seeds = [rng.randrange(30) for _ in range(30)], rng.choices(range(4), k=4)
        parts = []
        for rung in (one, other):
            by_seed = [statistics.fmean(values[q] for q in questions) for values in rung]
            middle = statistics.fmean(by_seed)
            parts.append(middle + (statistics.fmean(by_seed[s] for s in seeds) - middle) * math.sqrt(4 / 3))
        drawn.append(parts[0] / parts[1])
    drawn.sort()
    assert found.value == pytest.approx(sum(map(sum, one)) / sum(map(sum, other)))
    low, high = drawn[int(0.025 * REPLICATES)], drawn[int(0.975 * REPLICATES)]
    # A normal quantile at 2.5 % of 20,000 draws has a standard error of 0.019 s, two of them 0.027 s, and high - low is
    # 3.9 s: 0.03 of that is more than four standard errors.
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03 * (high - low))


def test_no_quotient_of_what_may_be_nothing() -> None:
    """A mean of 0.5 whose questions lie at -9 and 10: its interval holds 0."""
    weights = draw_weights(["a"] * 20, 500, 0)
    below = measured([-9.0, 10.0] * 10, weights)
    assert quotient([(measured([4.0] * 20, weights), below)]) is None


def test_drawn_ranks_are_ranks_of_repeated_questions() -> None:
    """A question drawn twice counts as two questions."""
    true, false = [0.3, 1.0, -0.4, 1.0], [0.2, 1.0, -2.0]
    weights = draw_weights(["a"] * 7, 40, 2)
    found = ranks(wins(np.array(true), np.array(false)), weights[:, :4], weights[:, 4:])
    for drawn, value in zip(weights.astype(int), found, strict=True):
        repeated = [x for x, count in zip(true, drawn[:4], strict=True) for _ in range(count)]
        others = [x for x, count in zip(false, drawn[4:], strict=True) for _ in range(count)]
        assert (value == pytest.approx(auc(repeated, others))) if repeated and others else math.isnan(value)


def test_strata_keep_their_size() -> None:
    weights = draw_weights(["a", "b", "a", "a", "b"], 200, 0)
    assert set(weights[:, [0, 2, 3]].sum(axis=1)) == {3}
    assert set(weights[:, [1, 4]].sum(axis=1)) == {2}


def test_bases_count_alike() -> None:
    """Five seeds on one base, one on another: the mean is of the two bases' means."""
    ones = np.ones(10)
    found = estimate([[Measured(10, 10 * ones, "%")] * 5, [Measured(40, 40 * ones, "%")]])
    assert (found.value, found.low, found.high, found.seeds) == (25, 25, 25, 6)
