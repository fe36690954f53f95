"""Rows drawn by seed."""

from __future__ import annotations

from collections import Counter

import pytest

from vistadpo_plugin.curation.sample import draw


def test_whole_owners_in_the_order_of_the_rows() -> None:
    owners = list("aabbbcaad")
    drawn = draw(owners, 2, seed=0)
    chosen = {owners[index] for index in drawn}
    assert len(chosen) == 2 and drawn == [index for index, owner in enumerate(owners) if owner in chosen]
    assert draw(owners, 4, seed=1) == list(range(9))
    with pytest.raises(ValueError, match="5 are wanted and there are 4"):
        draw(owners, 5, seed=0)


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    owners = [str(number) for number in range(40)]
    samples = [set(draw(owners, count, seed=5)) for count in range(1, 41)]
    assert all(small < large for small, large in zip(samples, samples[1:], strict=False))


def test_every_row_is_as_likely() -> None:
    """2,000 draws of 3 of 10: each is drawn 600 times, with a deviation of sqrt(2000 * .3 * .7) = 20.5; 5 of them are
    exceeded by one of ten with a chance of 6e-6."""
    counts = Counter(index for seed in range(2000) for index in draw(list("abcdefghij"), 3, seed))
    assert sorted(counts) == list(range(10)) and all(abs(count - 600) < 103 for count in counts.values())
