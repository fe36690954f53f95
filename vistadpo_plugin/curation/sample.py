"""A few rows of many, drawn by seed."""

from __future__ import annotations

import random
from collections.abc import Sequence


def draw(owners: Sequence[str], count: int, seed: int) -> list[int]:
    """Indices of the rows of `count` owners, in the rows' order; `owners` tells of each row whose it is.

    With one seed, what a smaller count draws is part of what a larger one draws. Raises ValueError where there are
    fewer.
    """
    names = list(dict.fromkeys(owners))
    if count > len(names):
        raise ValueError(f"{count} are wanted and there are {len(names)}.")
    random.Random(f"{seed}/sample").shuffle(names)
    drawn = set(names[:count])
    return [index for index, owner in enumerate(owners) if owner in drawn]
