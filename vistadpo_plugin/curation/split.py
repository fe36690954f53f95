"""Rows into training, validation and test by whole recordings, every stratum in like shares."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence

import numpy as np


def split_recordings(
    recordings: Sequence[str], strata: Sequence[Sequence[Hashable]], shares: Mapping[str, float], seed: int
) -> list[str]:
    """For every row the side it goes to: the rows of one recording to one side, near `shares` of all rows.

    `strata` has of every row the same number of values, as its kind and its source; rows with one value of one of them
    are to be divided like all. `shares` are above 0 and sum to 1.

    Recordings are taken from the one with most rows to the one with fewest, those of like size in an order drawn by
    `seed`. Each goes where it adds least to the sum of (rows - wanted)² / wanted over the rows of every value, and over
    all rows, which weigh as much as all values together. Without strata neither of two sides is off by more than the
    rows of the largest recording. Every side gets a recording; raises ValueError when there are fewer than sides.
    """
    sides, names = list(shares), list(dict.fromkeys(recordings))
    if len(names) < len(sides):
        raise ValueError(
            f"whole recordings are split, and the rows are about {len(names)}: {len(sides)} are needed for "
            f"{', '.join(sides)}. (Rows of one `group`, and rows that share a rejected video, count as one.)"
        )
    counts = _counts(recordings, names, strata)
    wanted = np.outer(list(shares.values()), counts.sum(axis=0))
    weights = np.ones(counts.shape[1])
    weights[-1] = max(counts.shape[1] - 1, 1)
    order = list(range(len(names)))
    random.Random(f"{seed}/split").shuffle(order)  # a text seed goes through SHA-512: the same in every process
    order.sort(key=lambda unit: -counts[unit, -1])

    filled = np.zeros_like(wanted)
    side_of = np.zeros(len(names), dtype=int)
    for unit in order:
        side_of[unit] = int(_costs(filled, wanted, weights, counts[unit]).argmin())
        filled[side_of[unit]] += counts[unit]
    for side in range(len(sides)):
        if not (side_of == side).any():
            _fill(side, side_of, filled, wanted, weights, counts)
    side = dict(zip(names, (sides[number] for number in side_of), strict=True))
    return [side[recording] for recording in recordings]


def _counts(recordings: Sequence[str], names: list[str], strata: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Rows by recording and value of a stratum (n, k + 1); the last column counts all."""
    places = {name: place for place, name in enumerate(names)}
    given = dict.fromkeys(pair for values in strata for pair in enumerate(values))
    columns = {pair: column for column, pair in enumerate(given)}
    counts = np.zeros((len(names), len(columns) + 1))
    for recording, values in zip(recordings, strata, strict=True):
        counts[places[recording], [*(columns[pair] for pair in enumerate(values)), -1]] += 1
    return counts


def _costs(filled: np.ndarray, wanted: np.ndarray, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What `rows` (k + 1,) more add to each side's sum of weighted (rows - wanted)² / wanted: (sides,)."""
    return ((2 * (filled - wanted) + rows) * rows * weights / wanted).sum(axis=1)


def _fill(
    side: int, side_of: np.ndarray, filled: np.ndarray, wanted: np.ndarray, weights: np.ndarray, counts: np.ndarray
) -> None:
    """Give an empty side the recording whose move costs least, of a side that keeps one."""
    sizes = np.bincount(side_of, minlength=len(wanted))
    movable = [unit for unit in range(len(side_of)) if sizes[side_of[unit]] > 1]

    def cost(unit: int) -> float:
        rest = filled.copy()
        rest[side_of[unit]] -= counts[unit]
        costs = _costs(rest, wanted, weights, counts[unit])
        return float(costs[side] - costs[side_of[unit]])

    unit = min(movable, key=cost)
    filled[side_of[unit]] -= counts[unit]
    filled[side] += counts[unit]
    side_of[unit] = side
