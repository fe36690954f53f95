"""Which videos look alike and are different recordings all the same: the mates behind `vista_mates: alike`.

A video is compared by perceptual hashes of five of its frames, read once a run (`data.views.looks`, which is imported
where it is used: it brings scipy, and few runs need it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.values import Video
from vistadpo_plugin.data.video.video import VideoError

# Of each video: how many of those most like it are kept.
MOST = 32

# Videos that are held against all others at a time.
_BLOCK = 128


@dataclass(frozen=True)
class Likeness:
    """`nearest` has for each video, by its key, others from the most alike on, and the bits that they differ in.

    These are of other recordings, and do not look the same: a video like which one looks may be one recording with it.
    `usual` is the mean difference in bits of any two recordings; `same` counts pairs of them that look the same, and
    `unseen` the videos of which there was nothing to compare.
    """

    nearest: dict[str, list[tuple[str, float]]]
    usual: float
    same: int
    unseen: int

    def describe(self) -> str:
        """In a line, for the summary."""
        first = [others[0][1] for others in self.nearest.values() if others]
        parts = [
            f"mates look alike: the videos most alike differ in {np.mean(first):.1f} of 64 bits, any two in "
            f"{self.usual:.1f}"
            if first
            else "no two videos can be compared, so mates are drawn at random"
        ]
        if self.same:
            parts.append(f"{self.same} pairs look the same, may be of one recording, and are no mates")
        if self.unseen:
            parts.append(f"{self.unseen} videos are flat or cannot be read, and have mates at random")
        return "; ".join(parts)


def videos_of(rows: GroundedRows) -> dict[str, Video]:
    """The videos of rows by their keys."""
    return {row.video_key: row.video for row in rows.grounded if row is not None}


def look_at(videos: Mapping[str, Video], images_fps: float) -> dict[str, tuple[int, ...]]:
    """The hashes of videos, by their keys. Of one that cannot be read there are none; who trains on it says so."""
    from vistadpo_plugin.data.views.looks import looks_of

    looks = {}
    for key, video in tqdm(videos.items(), desc="looking at videos for mates", unit="video", delay=2, leave=False):
        try:
            looks[key] = looks_of(video, images_fps)
        except VideoError:
            looks[key] = ()
    return looks


def find_likeness(rows: GroundedRows, looks: Mapping[str, Sequence[int]]) -> Likeness:
    """Hold the videos of `rows` against each other; `looks` has the hashes of their frames by key."""
    from vistadpo_plugin.data.views.looks import find_alike

    recording = dict(zip(rows.video_keys, rows.recordings, strict=True))
    keys = [key for key in videos_of(rows) if looks.get(key)]
    hashes = [looks[key] for key in keys]
    owners = np.unique([recording[key] for key in keys], return_inverse=True)[1] if keys else np.zeros(0, np.int64)
    same = [pair for pair in find_alike(hashes) if owners[pair[0]] != owners[pair[1]]] if keys else []
    never: dict[int, list[int]] = {}
    for one, other in same:
        never.setdefault(one, []).append(other)
        never.setdefault(other, []).append(one)
    nearest: dict[str, list[tuple[str, float]]] = {}
    total, pairs = 0.0, 0
    for start in range(0, len(keys), _BLOCK):
        for place, bits in enumerate(differences(hashes, start, min(start + _BLOCK, len(keys))), start=start):
            others = owners != owners[place]
            total, pairs = total + float(bits[others].sum()), pairs + int(others.sum())
            bits[~others] = np.inf
            bits[never.get(place, [])] = np.inf
            order = np.argsort(bits, kind="stable")[:MOST]
            nearest[keys[place]] = [(keys[other], float(bits[other])) for other in order if np.isfinite(bits[other])]
    return Likeness(nearest, total / pairs if pairs else 0.0, len(same), len(videos_of(rows)) - len(keys))


def differences(hashes: Sequence[Sequence[int]], start: int, stop: int) -> np.ndarray:
    """How much videos `start` to `stop` differ from every one: float64 (stop - start, videos), in bits.

    Of each frame of either the frame of the other that differs least counts; the mean over frames, and over both ways.
    """
    from vistadpo_plugin.data.views.looks import BITS, as_signs

    lengths = np.array([len(one) for one in hashes])
    firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    signs = as_signs([value for one in hashes for value in one])
    begin, end = firsts[start], firsts[stop - 1] + lengths[stop - 1]
    bits = (BITS - signs[begin:end] @ signs.T) / 2
    own = firsts[start:stop] - begin
    there = np.add.reduceat(np.minimum.reduceat(bits, firsts, axis=1), own, axis=0) / lengths[start:stop, None]
    back = np.add.reduceat(np.minimum.reduceat(bits, own, axis=0), firsts, axis=1) / lengths
    return (there + back).astype(np.float64) / 2
