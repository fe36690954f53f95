"""Who is whose mate: the pairing of rows with different videos behind `vista_video_negative: other`.

The pairing is a function of (seed, epoch) alone, so a row meets the same unrelated video whatever the batch size, the
number of ranks or a resume.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NO_ROW = -1


def pair_rows(video_keys: Sequence[str | None], seed: int, epoch: int) -> np.ndarray:
    """mate[i]: index of a row whose video differs from row i's, or NO_ROW; shape (rows,).

    Rows without a video (None) take no part. Mates are mutual as far as the data allows: with the rows laid out video
    by video in random order, row k and row k + n/2 are partners, which differ in video unless one video owns more than
    half of the rows. Those left over (an odd row, a dominating video) borrow a mate at random.
    """
    mates = np.full(len(video_keys), NO_ROW, dtype=np.int64)
    members: dict[str, list[int]] = {}
    for index, key in enumerate(video_keys):
        if key is not None:
            members.setdefault(key, []).append(index)
    if len(members) < 2:
        return mates
    rng = np.random.default_rng([seed, epoch])
    groups = list(members.values())
    layout = np.concatenate([rng.permutation(groups[group]) for group in rng.permutation(len(groups))])
    keys = np.asarray([video_keys[index] for index in layout], dtype=object)
    half = len(layout) // 2
    for first in range(half):
        if keys[first] != keys[first + half]:
            mates[layout[first]], mates[layout[first + half]] = layout[first + half], layout[first]
    for position in np.flatnonzero(mates[layout] == NO_ROW):
        others = layout[keys != keys[position]]
        mates[layout[position]] = rng.choice(others)
    return mates
