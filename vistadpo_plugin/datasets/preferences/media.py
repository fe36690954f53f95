"""Videos that a file of pairs names by paths of its makers' machine, found in the folder that is here."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from vistadpo_plugin.data.video.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES


class MediaFolder:
    """The video files, and folders of frames, below a folder. Raises ValueError when the folder does not exist."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise ValueError(f"the folder of videos {folder} does not exist.")
        self.folder = folder
        self.doubles: dict[str, list[str]] = {}
        self._known: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """The file or folder of frames that `name` means, or None.

        It is the path below the folder, with its own or another video ending; else the path as it stands, where that
        is a whole one; else what has its last part for a name, ending aside, wherever below the folder it lies. Of
        several such the one whose folders agree with most of the path, the first of those that agree alike.
        """
        if name not in self._known:
            self._known[name] = self._look_for(PurePosixPath(name.replace("\\", "/")))
        return self._known[name]

    def _look_for(self, path: PurePosixPath) -> Path | None:
        direct = self._at(self.folder / str(path).lstrip("/"))
        if direct is None and path.is_absolute():
            direct = self._at(Path(path))
        return direct or self._by_name(path)

    def expected(self, name: str) -> Path:
        """Where `name` is, or would lie."""
        return self.find(name) or self.folder / name.replace("\\", "/").lstrip("/")

    @staticmethod
    def _at(path: Path) -> Path | None:
        # os.path's own, which take a name that no file can have for one that is not there.
        if os.path.isdir(path):
            return path if any(name.lower().endswith(IMAGE_SUFFIXES) for name in os.listdir(path)) else None
        for candidate in (path, *(_other_ending(path, suffix) for suffix in VIDEO_SUFFIXES)):
            if os.path.isfile(candidate):
                return candidate
        return None

    def _by_name(self, path: PurePosixPath) -> Path | None:
        found = self._names.get(_stem(path.name), [])
        if not found:
            return None
        best = max(found, key=lambda candidate: _agreeing(candidate, path))  # the first of equals
        alike = [str(one) for one in found if _agreeing(one, path) == _agreeing(best, path)]
        if len(alike) > 1:
            self.doubles.setdefault(str(path), alike)
        return best

    @functools.cached_property
    def _names(self) -> dict[str, list[Path]]:
        """By name without ending; read when a path is the first time not found as it stands."""
        names: dict[str, list[Path]] = defaultdict(list)
        for parent, folders, files in os.walk(self.folder, followlinks=True):
            folders.sort()
            videos = sorted(name for name in files if name.lower().endswith(VIDEO_SUFFIXES))
            for name in videos:
                names[_stem(name)].append(Path(parent) / name)
            if not videos and any(name.lower().endswith(IMAGE_SUFFIXES) for name in files):
                names[Path(parent).name].append(Path(parent))
        return names


def _stem(name: str) -> str:
    """The name without a video's ending; other dots stay (`v_3.5`)."""
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in VIDEO_SUFFIXES else name


def _other_ending(path: Path, suffix: str) -> Path:
    return path.with_name(_stem(path.name) + suffix)


def _agreeing(found: Path, named: PurePosixPath) -> int:
    """How many folders, counted from the end, both paths have in common."""
    pairs = zip(reversed(found.parts[:-1]), reversed(named.parts[:-1]), strict=False)
    count = 0
    for here, there in pairs:
        if here != there:
            break
        count += 1
    return count
