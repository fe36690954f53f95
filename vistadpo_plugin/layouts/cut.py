"""Frames of a video cut into folders of images: every folder of one video in one pass over it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vistadpo_plugin.data.rows.grounding import GroundedRow, outside_stretch
from vistadpo_plugin.data.video.intervals import inside_events, nearest_frame
from vistadpo_plugin.data.video.video import IMAGE_SUFFIXES, FrameSource, VideoError
from vistadpo_plugin.data.views.views import Selector, sample_indices

QUALITY = 95


@dataclass(frozen=True)
class Cut:
    """Which frames go into which folder."""

    folder: Path
    select: Selector


def inside_cut(folder: Path, row: GroundedRow, fps: float) -> Cut:
    """Frames of the row's events, spread evenly, `fps` a second."""
    return Cut(folder, lambda times: _spread(times, inside_events(times, row.events), fps))


def outside_cut(folder: Path, row: GroundedRow, fps: float) -> Cut:
    """Frames of the longest stretch without the events, spread evenly, `fps` a second."""
    return Cut(folder, lambda times: _spread(times, outside_stretch(times, row), fps))


def keyframe_cut(folder: Path, seconds: float) -> Cut:
    """The one frame nearest to `seconds`."""
    return Cut(folder, lambda times: [nearest_frame(times, seconds)])


def _spread(times: np.ndarray, among: np.ndarray, fps: float) -> list[int]:
    """Indices of frames for which `among` (n,) is true: at least one, at most all of them."""
    pool = np.flatnonzero(among)
    if not len(pool):
        raise VideoError("decoded frames have other times than its packets, a clip has none.")
    step = times[-1] / (len(times) - 1) if len(times) > 1 else 0.0
    count = min(len(pool), max(1, round(len(pool) * step * fps)))
    return pool[sample_indices(len(pool), count)].tolist()


def write_cuts(source: FrameSource, cuts: list[Cut]) -> None:
    """Write every cut of one source; files are named by the number of their frame in the source, counted from 0.

    A video's frames become JPEGs, images of a folder are copied. Images that the folders hold are replaced. Raises
    VideoError before anything is written.
    """
    if isinstance(source.video, tuple):
        times = source.times()
        wanted = {index for cut in cuts for index in cut.select(times)}
        frames = {index: Path(source.video[index]).read_bytes() for index in wanted}
        endings = [os.path.splitext(image)[1].lower() for image in source.video]
    else:
        times, frames = source.read(lambda times: {index for cut in cuts for index in cut.select(times)}, _jpeg)
        endings = [".jpg"] * len(times)
    chosen = [(cut.folder, cut.select(times)) for cut in cuts]
    for folder, indices in chosen:
        _fill(folder, {f"{index:06d}{endings[index]}": frames[index] for index in indices})


def copy_image(folder: Path, image: Path) -> None:
    """Put one image into a folder of its own; images that the folder holds are replaced."""
    _fill(folder, {f"000000{image.suffix.lower()}": image.read_bytes()})


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in list(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:  # of an earlier run, and not to mix with these
            path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _jpeg(image: Image.Image) -> bytes:
    # Encoded at once: the frames of all rows about a long video would not fit into memory as pixels.
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def has_images(folder: Path) -> bool:
    """Whether there are images in the folder already."""
    return folder.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())
