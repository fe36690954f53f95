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
from vistadpo_plugin.data.views.frames import plural

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
            parts.append(f"no mates, since they look the same and may be of one recording: {plural(self.same, 'pair')}")
        if self.unseen:
            parts.append(f"mates at random, since flat or not to be read: {plural(self.unseen, 'video')}")
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

    # As many frames for each: the first one again changes no minimum, and has no weight in the means.
    most, count = max(map(len, hashes)), len(hashes)
    weights = np.array([[1 / len(one)] * len(one) + [0.0] * (most - len(one)) for one in hashes])
    signs = as_signs([value for one in hashes for value in [*one, *[one[0]] * (most - len(one))]])
    bits = (BITS - signs[start * most : stop * most] @ signs.T) / 2
    bits = bits.reshape(stop - start, most, count, most)
    there = np.einsum("afb,af->ab", bits.min(axis=3), weights[start:stop])
    back = np.einsum("abf,bf->ab", bits.min(axis=1), weights)
    return (there + back) / 2
