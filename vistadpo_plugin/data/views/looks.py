"""How alike videos look, by a perceptual hash (imagehash) of some of their frames.

It stays nearly the same when a frame is encoded or scaled again. So videos that look the same may be one recording
under another name, and such a one, taken for a row's unrelated video, would teach that the right answer is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import imagehash
import numpy as np
from PIL import Image

from vistadpo_plugin.data.rows.values import Video
from vistadpo_plugin.data.video.intervals import nearest_frame
from vistadpo_plugin.data.video.video import FrameSource

# Where in a video frames are compared, as shares of its length.
_PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)

BITS = 64
# Frames encoded again differ in a few bits, unrelated ones in about half of them.
_NEAR_BITS = 8
# Grey levels; black frames and title cards look like others whatever the video.
_FLAT_SPREAD = 4.0
# More than half of the frames have to be alike, of at least so many.
_LEAST_FRAMES = 3

_BLOCK = 1024


def places(times: np.ndarray) -> list[int]:
    """Indices of the frames to compare, of a video whose frames have these `times` (n,)."""
    return [nearest_frame(times, share * float(times[-1])) for share in _PLACES]


def look(image: Image.Image) -> int | None:
    """The perceptual hash of a frame, None for one with next to nothing on it."""
    grey = image.convert("L")
    if np.asarray(grey).std() < _FLAT_SPREAD:
        return None
    return int(str(imagehash.phash(grey)), 16)


def looks_of(video: Video, images_fps: float) -> tuple[int, ...]:
    """Hashes of the frames to compare, without those with next to nothing on them. Raises VideoError."""
    times, seen = FrameSource(video, images_fps).read(lambda times: set(places(times)), look)
    return tuple(seen[index] for index in dict.fromkeys(places(times)) if seen[index] is not None)


def as_signs(hashes: Sequence[int]) -> np.ndarray:
    """Hashes as rows of +1 and -1, float32 (n, BITS): a product of two is BITS less twice the bits that differ."""
    packed = np.array(hashes, dtype=">u8")
    return np.unpackbits(packed.view(np.uint8)).reshape(-1, BITS).astype(np.float32) * 2 - 1


def find_alike(looks: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of videos of which more than half of the frames of either look like one of the other's."""
    owners = np.repeat(np.arange(len(looks)), [len(hashes) for hashes in looks])
    counts = np.bincount(owners, minlength=len(looks))
    signs = as_signs([value for hashes in looks for value in hashes])
    found: dict[tuple[int, int], set[int]] = {}
    for start in range(0, len(signs), _BLOCK):
        agreeing = signs[start : start + _BLOCK] @ signs.T
        for frame, other in np.argwhere(agreeing >= BITS - 2 * _NEAR_BITS):
            pair = int(owners[start + frame]), int(owners[other])
            if pair[0] != pair[1]:
                found.setdefault(pair, set()).add(int(start + frame))
    return sorted(
        (one, other)
        for (one, other), frames in found.items()
        if one < other
        and all(2 * len(found[pair]) > counts[pair[0]] for pair in ((one, other), (other, one)))
        and min(counts[one], counts[other]) >= _LEAST_FRAMES
    )
