"""Which rows are about one recording, whatever its files are called: such rows are never each other's unrelated video.

One recording are files of the same content, and all videos of the rows that have one `group`.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from vistadpo_plugin.data.rows.grounding import GroundedRow

_BLOCK = 1 << 20


def recordings(rows: Sequence[GroundedRow | None]) -> list[str | None]:
    """For every row a name of its recording, the key of one of its videos; None for a row without exactly one video.

    A file is read only where another is exactly as long. What is not there counts by its name.
    """
    videos = {row.video_key: row.video for row in rows if row is not None}
    same = {key: key for key in videos}

    def first(key: str) -> str:
        while same[key] != key:
            key = same[key]
        return key

    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row is not None and row.group is not None:
            groups[row.group].append(row.video_key)
    for members in [*groups.values(), *_copies(videos)]:
        for key in members[1:]:
            same[first(key)] = first(members[0])
    return [None if row is None else first(row.video_key) for row in rows]


def _copies(videos: dict[str, str | tuple[str, ...]]) -> list[list[str]]:
    """Keys of videos of the same content, at least two each."""
    as_long = _alike(videos, _lengths)
    return [copies for keys in as_long for copies in _alike({key: videos[key] for key in keys}, content_digest)]


def _alike(videos: dict[str, str | tuple[str, ...]], measure: Callable[[tuple[str, ...]], Hashable]) -> list[list[str]]:
    found: dict[Hashable, list[str]] = defaultdict(list)
    for key, video in videos.items():
        try:
            found[measure(_files(video))].append(key)
        except OSError:
            continue  # nothing is known of a file that cannot be read; who needs it says so
    return [keys for keys in found.values() if len(keys) > 1]


def _files(video: str | tuple[str, ...]) -> tuple[str, ...]:
    return (video,) if isinstance(video, str) else video


def _lengths(files: tuple[str, ...]) -> tuple[int, ...]:
    """How many files, and bytes of the first and the last: a folder may hold thousands."""
    return len(files), os.path.getsize(files[0]), os.path.getsize(files[-1])


def content_digest(files: tuple[str, ...]) -> str:
    """A name of what the files hold, whatever they are called. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        digest.update(b"\0" + str(os.path.getsize(path)).encode())  # where one file ends and the next begins
    return digest.hexdigest()
