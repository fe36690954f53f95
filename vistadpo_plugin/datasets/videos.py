"""Where the videos of a data set lie, and how a row names them."""

from __future__ import annotations

import os
from pathlib import Path

from vistadpo_plugin.data.video.packets import AV_ERRORS, VideoError, open_video, video_stream
from vistadpo_plugin.data.video.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES


class VideoIndex:
    """The videos of a folder and its sub-folders, found by their names without ending (`NExTVideo/1164/ID.mp4`).

    With `frames_per_second` a video is a folder of frames taken at that rate (`bbt_frames/ID/00001.jpg`). Raises
    ValueError when the folder does not exist.
    """

    def __init__(self, folder: Path, frames_per_second: float | None = None):
        if not folder.is_dir():
            raise ValueError(f"the folder of videos {folder} does not exist.")
        self.folder = folder
        self.frames_per_second = frames_per_second
        self._found: dict[str, Path] = {}
        self.doubles: dict[str, list[str]] = {}
        for parent, folders, files in os.walk(folder, followlinks=True):
            folders.sort()
            if frames_per_second is None:
                for name in sorted(files):
                    stem, ending = os.path.splitext(name)
                    if ending.lower() in VIDEO_SUFFIXES:
                        self._add(stem, Path(parent) / name)
            elif any(name.lower().endswith(IMAGE_SUFFIXES) for name in files):
                self._add(os.path.basename(parent), Path(parent))

    def _add(self, name: str, path: Path) -> None:
        if name in self._found:
            self.doubles.setdefault(name, [str(self._found[name])]).append(str(path))
        else:
            self._found[name] = path

    def find(self, video: str) -> Path | None:
        """The file or folder of a video id, or None. Of several, the first in order of folders and names."""
        return self._found.get(video)

    def expected(self, video: str) -> Path:
        """The file, or where it would lie: straight in the folder, as mp4 or as a folder of frames."""
        return self.find(video) or self.folder / (f"{video}.mp4" if self.frames_per_second is None else video)


def path_for(target: Path, folder: Path) -> str:
    """`target` as a row names it in a data file in `folder`, so that `dataset_dir` alone finds it.

    An absolute path stays one; a relative one is rewritten to start at `folder`, with forward slashes.
    """
    if target.is_absolute():
        return str(target)
    return Path(os.path.relpath(os.path.abspath(target), os.path.realpath(folder))).as_posix()


def frame_rate(video: Path) -> float:
    """Frames a second by the file's header, the rate at which ffmpeg writes the frames of a video to images.

    Raises VideoError.
    """
    try:
        with open_video(str(video)) as container:
            rate = video_stream(container, str(video)).guessed_rate
    except AV_ERRORS as error:
        raise VideoError(f"cannot open the video {video}: {error}") from None
    if not rate:
        raise VideoError(f"{video}: its header names no frame rate.")
    return float(rate)
