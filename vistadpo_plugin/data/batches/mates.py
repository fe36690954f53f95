"""What a row's rejected views are drawn from in an epoch: a mate for `vista_video_negative: other`, or one of its own.

Both are functions of (seed, epoch) alone, so a row meets the same rejected video whatever the batch size, the number of
ranks or a resume.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from vistadpo_plugin.data.batches.likeness import Likeness
from vistadpo_plugin.data.rows.grounding import GroundedRow

NO_ROW = -1

Own = TypeVar("Own")


def pair_rows(recordings: Sequence[str | None], seed: int, epoch: int) -> np.ndarray:
    """mate[i]: index of a row whose recording differs from row i's, or NO_ROW; shape (rows,).

    Rows without a video (None) take no part. Mates are mutual as far as the data allows: with the rows laid out one
    recording after the other in random order, row k and row k + n/2 are partners, which differ in recording unless one
    owns more than half of the rows. Those left over (an odd row, a dominating recording) borrow a mate at random.
    """
    mates = np.full(len(recordings), NO_ROW, dtype=np.int64)
    members: dict[str, list[int]] = {}
    for index, key in enumerate(recordings):
        if key is not None:
            members.setdefault(key, []).append(index)
    if len(members) < 2:
        return mates
    rng = np.random.default_rng([seed, epoch])
    groups = list(members.values())
    layout = np.concatenate([rng.permutation(groups[group]) for group in rng.permutation(len(groups))])
    keys = np.asarray([recordings[index] for index in layout], dtype=object)
    half = len(layout) // 2
    for first in range(half):
        if keys[first] != keys[first + half]:
            mates[layout[first]], mates[layout[first + half]] = layout[first + half], layout[first]
    for position in np.flatnonzero(mates[layout] == NO_ROW):
        others = layout[keys != keys[position]]
        mates[layout[position]] = rng.choice(others)
    return mates


def pair_alike(
    recordings: Sequence[str | None], videos: Sequence[str | None], alike: Likeness, seed: int, epoch: int
) -> np.ndarray:
    """As `pair_rows`, but with the rows of `videos` (keys) whose videos look most like a row's own.

    Row by row in random order, each that has no mate yet takes the first row without one among the videos most like its
    own, and both are mates. Where none of these is left it borrows a row of the video most like its own. A video that
    none looks like, or nothing is known of, has its rows paired as by `pair_rows`.
    """
    mates = pair_rows(recordings, seed, epoch)
    rng = np.random.default_rng([seed, epoch])
    members: dict[str, list[int]] = {}
    taking = [row for row in rng.permutation(len(videos)).tolist() if alike.nearest.get(videos[row])]
    for row in taking:
        members.setdefault(videos[row], []).append(row)  # type: ignore[arg-type]
    free = {video: list(rows) for video, rows in members.items()}
    chosen: dict[int, int] = {}
    for row in taking:
        if row in chosen:
            continue
        near = [video for video, _ in alike.nearest[videos[row]] if video in members]  # type: ignore[index]
        for video in near:
            while free[video] and free[video][-1] in chosen:
                free[video].pop()
            if free[video]:
                other = free[video].pop()
                chosen[row], chosen[other] = other, row
                break
        else:
            if near:
                chosen[row] = int(rng.choice(members[near[0]]))
    for row, mate in chosen.items():
        mates[row] = mate
    return mates


def draw_rejected(row: GroundedRow, seed: int, epoch: int) -> GroundedRow:
    """The row with one rejected video, clip and keyframe of its own, where it brings several.

    They take turns: the first is drawn from the seed and the row's place, and each epoch takes the next one, so a row
    has met all of them after as many epochs as it has.
    """

    def turn(name: str, own: tuple[Own, ...]) -> tuple[Own, ...]:
        if len(own) < 2:
            return own
        first = np.random.default_rng([seed, zlib.crc32(f"{row.where} {name}".encode())]).integers(len(own))
        return (own[(int(first) + epoch) % len(own)],)

    return dataclasses.replace(
        row,
        rejected_videos=turn("video", row.rejected_videos),
        rejected_clips=turn("clip", row.rejected_clips),
        rejected_keyframes=turn("keyframe", row.rejected_keyframes),
    )
