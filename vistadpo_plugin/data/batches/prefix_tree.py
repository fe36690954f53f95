"""Token sequences that begin alike -> one packed row, in which every shared token stands once.

A tree is laid out as its *trunk*, the tokens all sequences share, followed by its *branches*, node by node: a token
attends to its ancestors and itself, and its position id is its depth. The trunk is plain causal; only the branches,
short beside a video, need a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PrefixTree:
    """Sequences merged by their common prefixes; n tokens, of which the first `trunk` are shared by all.

    | field | shape | what |
    |---|---|---|
    | tokens | (n,) int64 | the packed row |
    | depths | (n,) int64 | place of each token in its own sequence |
    | mask | (n - trunk, n) bool | what each branch token attends to; None where there is no branch |
    | paths | one (length,) int64 a sequence | where its tokens stand in the packed row |
    """

    tokens: np.ndarray
    depths: np.ndarray
    trunk: int
    mask: np.ndarray | None
    paths: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.tokens)


def merge(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """Merge non-empty token sequences into one prefix tree, in the order given."""
    trunk = common_prefix(sequences)
    tokens, depths = list(sequences[0][:trunk]), list(range(trunk))
    parents: list[int] = []  # of the branch tokens, as places in the packed row
    children: dict[tuple[int, int], int] = {}  # (parent, token) -> place
    paths = []
    for sequence in sequences:
        path, parent = list(range(trunk)), trunk - 1
        for depth in range(trunk, len(sequence)):
            step = (parent, sequence[depth])
            if step not in children:
                children[step] = len(tokens)
                tokens.append(sequence[depth])
                depths.append(depth)
                parents.append(parent)
            parent = children[step]
            path.append(parent)
        paths.append(np.asarray(path, dtype=np.int64))
    mask = _ancestors(parents, trunk) if parents else None
    return PrefixTree(np.asarray(tokens, dtype=np.int64), np.asarray(depths, dtype=np.int64), trunk, mask, paths)


def _ancestors(parents: list[int], trunk: int) -> np.ndarray:
    """Every branch token sees the trunk, its ancestors and itself; a parent always stands before its children."""
    mask = np.zeros((len(parents), trunk + len(parents)), dtype=bool)
    mask[:, :trunk] = True
    for node, parent in enumerate(parents):
        if parent >= trunk:
            mask[node] = mask[parent - trunk]
        mask[node, trunk + node] = True
    return mask


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Number of leading tokens that all sequences share."""
    shortest = min(sequences, key=len)
    if len(sequences) == 1:
        return len(shortest)
    rows = np.asarray([sequence[: len(shortest)] for sequence in sequences])
    differs = (rows != rows[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else len(shortest)
