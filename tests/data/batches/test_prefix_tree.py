"""Packed rows against the sequences they were merged from, token by token."""

from __future__ import annotations

import random

import numpy as np
import pytest

from vistadpo_plugin.data.batches.prefix_tree import PrefixTree, common_prefix, merge


def check(sequences: list[list[int]], tree: PrefixTree) -> None:
    """All that a packed row promises, from the sequences alone."""
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert path.dtype == np.int64
        assert tree.tokens[path].tolist() == sequence
        assert tree.depths[path].tolist() == list(range(len(sequence)))
    # One token for each distinct prefix and no other, in an order in which nothing stands before its ancestors.
    prefixes = {tuple(sequence[:length]) for sequence in sequences for length in range(1, len(sequence) + 1)}
    spelled: dict[int, tuple[int, ...]] = {}
    ancestors: dict[int, set[int]] = {}
    for sequence, path in zip(sequences, tree.paths, strict=True):
        for depth, place in enumerate(path.tolist()):
            prefix = tuple(sequence[: depth + 1])
            assert spelled.setdefault(place, prefix) == prefix
            ancestors[place] = set(path[: depth + 1].tolist())
            assert max(ancestors[place]) == place
    assert sorted(spelled) == list(range(len(tree))) and len(tree) == len(tree.depths)
    assert len(set(spelled.values())) == len(spelled) and set(spelled.values()) == prefixes

    shared = 0
    while all(len(s) > shared for s in sequences) and len({s[shared] for s in sequences}) == 1:
        shared += 1
    assert tree.trunk == shared == common_prefix(sequences)
    assert tree.tokens[:shared].tolist() == sequences[0][:shared]
    if len(tree) == shared:
        assert tree.mask is None
        return
    assert tree.mask.dtype == bool and tree.mask.shape == (len(tree) - shared, len(tree))
    for node, seen in enumerate(tree.mask):
        assert set(np.flatnonzero(seen).tolist()) == ancestors[shared + node]


def test_random_sequences() -> None:
    """Few words and short lengths, so that sequences fork anywhere, end within each other and come up twice."""
    rng = random.Random(0)
    kinds = {"branches": 0, "none": 0, "no trunk": 0}
    for _ in range(1000):
        words, start = rng.randint(1, 4), [rng.randrange(4) for _ in range(rng.choice([0, 0, 1, 5]))]
        sequences = [start + [rng.randrange(words) for _ in range(rng.randint(1, 7))] for _ in range(rng.randint(1, 6))]
        tree = merge(sequences)
        check(sequences, tree)
        kinds["none" if tree.mask is None else "branches"] += 1
        kinds["no trunk"] += tree.trunk == 0
    assert min(kinds.values()) > 50, kinds


@pytest.mark.parametrize(
    ("sequences", "tokens", "trunk", "paths", "mask"),
    [
        ([[5, 6, 7]], [5, 6, 7], 3, [[0, 1, 2]], None),
        ([[5, 6], [5, 6], [5, 6]], [5, 6], 2, [[0, 1]] * 3, None),
        ([[5, 6], [5, 6, 7, 8]], [5, 6, 7, 8], 2, [[0, 1], [0, 1, 2, 3]], ["1110", "1111"]),
        ([[5, 6, 7], [5]], [5, 6, 7], 1, [[0, 1, 2], [0]], ["110", "111"]),
        # 6 follows 5 twice and is stored once; the 7 after [5, 6] and the 7 after [5] are two tokens.
        (
            [[5, 6, 7], [5, 7], [5, 6, 8]],
            [5, 6, 7, 7, 8],
            1,
            [[0, 1, 2], [0, 3], [0, 1, 4]],
            ["11000", "11100", "10010", "11001"],
        ),
        ([[1], [2]], [1, 2], 0, [[0], [1]], ["10", "01"]),
    ],
)
def test_by_hand(
    sequences: list[list[int]], tokens: list[int], trunk: int, paths: list[list[int]], mask: list[str] | None
) -> None:
    tree = merge(sequences)
    check(sequences, tree)
    assert tree.tokens.tolist() == tokens and tree.trunk == trunk
    assert [path.tolist() for path in tree.paths] == paths
    found = None if tree.mask is None else ["".join(str(int(seen)) for seen in row) for row in tree.mask]
    assert found == mask
