"""What the files of rows hold: `ground` on every row of a video, and on demand the frames that its terms look at.

This runs in a worker process, so jobs and results are plain data.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vistadpo_plugin.data.rows.grounding import GroundedRow, find_video, frame_times, ground, outside_stretch
from vistadpo_plugin.data.rows.schema import Row, RowError
from vistadpo_plugin.data.rows.values import Video
from vistadpo_plugin.data.video.intervals import between, inside_events, nearest_frame
from vistadpo_plugin.data.video.video import FrameSource, VideoError, frame_size, image_size, open_image
from vistadpo_plugin.data.views.looks import look, places


@dataclass(frozen=True)
class VideoJob:
    """Rows of one video as written. `images_fps` is the rate at which a folder of frames is taken to be shown."""

    rows: tuple[Row, ...]
    media_dir: str
    images_fps: float
    decode: bool

    @property
    def videos(self) -> int:
        """How many different videos are read for it."""
        return 1 + len({one for row in self.rows for one in (*row.rejected_videos, *row.rejected_clips)})


@dataclass(frozen=True)
class Problem:
    """Why a row is unusable: a kind of `KINDS`, and a sentence."""

    kind: str
    message: str


@dataclass(frozen=True)
class VideoFacts:
    """A video's frames: how many, over how many seconds, and their (width, height) in pixels as they are shown.

    `late` is how many seconds they begin after the sound.
    """

    video: str
    is_file: bool
    frames: int
    seconds: float
    size: tuple[int, int]
    late: float = 0.0

    @property
    def rate(self) -> float:
        """Frames a second; 0 for a damaged file whose frames are all at one time."""
        return self.frames / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class VideoResult:
    """Each row of a job, grounded or with its problem, and what the video is when it can be read.

    `looks` are perceptual hashes of some of its frames, where frames were decoded.
    """

    rows: tuple[GroundedRow | Problem, ...]
    facts: VideoFacts | None
    looks: tuple[int, ...] = ()


def inspect(job: VideoJob) -> VideoResult:
    """Read what the job's rows name. Never raises: whatever goes wrong is the problem of the rows it belongs to."""
    rows = [_grounded(row, job) for row in job.rows]
    good = [index for index, row in enumerate(rows) if isinstance(row, GroundedRow)]
    facts, problems, looks = None, {}, ()
    try:
        facts = _facts(find_video(job.rows[0].video, job.media_dir, job.rows[0].where), job.images_fps)
        if good and job.decode:
            problems, looks = _decode([rows[index] for index in good], job.images_fps)
    except Exception as error:
        problems = dict.fromkeys(range(len(good)), _problem(error, "unreadable-file"))
    for place, problem in problems.items():
        rows[good[place]] = problem
    return VideoResult(tuple(rows), facts, looks)


def _problem(error: Exception, kind: str) -> Problem:
    if isinstance(error, RowError):
        return Problem(error.kind or "unexpected-error", error.message)
    if isinstance(error, VideoError):
        return Problem(kind, str(error))
    return Problem("unexpected-error", f"{type(error).__name__}: {error}. Please report this with the file.")


def _grounded(row: Row, job: VideoJob) -> GroundedRow | Problem:
    try:
        return ground(row, job.media_dir, job.images_fps)
    except Exception as error:
        return _problem(error, "unreadable-file")


def _facts(video: str | tuple[str, ...], images_fps: float) -> VideoFacts:
    times = frame_times(video, images_fps)
    is_file = isinstance(video, str)
    # A single frame has no duration of its own; one of a folder is shown as long as any.
    step = times[-1] / (len(times) - 1) if len(times) > 1 else 1 / images_fps
    name = video if isinstance(video, str) else video[0]
    late = FrameSource(video, images_fps).late()
    return VideoFacts(name, is_file, len(times), float(times[-1] + step), frame_size(video), late)


def _decode(rows: Sequence[GroundedRow], images_fps: float) -> tuple[dict[int, Problem], tuple[int, ...]]:
    """Decode the first and the last frame of the rows' video, those at event edges and keyframes, and a few to compare.

    In one pass. Returns the problems by index of the row, and the looks of the frames to compare.
    """

    def choose(times: np.ndarray) -> set[int]:
        return {0, len(times) - 1, *places(times)}.union(*(_edges(row, times) for row in rows))

    try:
        times, seen = FrameSource(rows[0].video, images_fps).read(choose, look)
    except VideoError as error:
        return dict.fromkeys(range(len(rows)), _problem(error, "undecodable-file")), ()
    looks = tuple(seen[index] for index in dict.fromkeys(places(times)) if seen[index] is not None)
    problems = {}
    for index, row in enumerate(rows):
        try:
            _check_clips(row, times)
            _decode_images(row)
            for rejected in (*row.rejected_videos, *row.rejected_clips):
                _decode_ends(rejected, images_fps)
        except VideoError as error:
            problems[index] = _problem(error, "undecodable-file")
    return problems, looks


def _edges(row: GroundedRow, times: np.ndarray) -> set[int]:
    """The first and last frame of every event and of the stretch without one, and the keyframe."""
    groups = [np.flatnonzero(between(times, *event)) for event in row.events]
    if row.outside is not None:
        groups.append(np.flatnonzero(outside_stretch(times, row)))
    indices = {int(index) for group in groups if len(group) for index in (group[0], group[-1])}
    if isinstance(row.keyframe, float):
        indices.add(nearest_frame(times, row.keyframe))
    return indices


def _check_clips(row: GroundedRow, times: np.ndarray) -> None:
    """`times` are those of the decoded frames, which are not always the packets' that `ground` went by."""
    empty = row.events and not inside_events(times, row.events).any()
    if empty or (row.outside is not None and not outside_stretch(times, row).any()):
        raise VideoError(f"{row.video_key}: decoded frames have other times than its packets, a clip has none.")


@functools.lru_cache(maxsize=256)  # rows of a video may share a rejected one
def _decode_ends(video: Video, images_fps: float) -> None:
    """The first and the last frame of a rejected video."""
    FrameSource(video, images_fps).read(lambda times: {0, len(times) - 1}, lambda image: None)


def _decode_images(row: GroundedRow) -> None:
    """The images a row names besides its video: keyframes, and the ends of both clips; the others' headers."""
    for image in (row.keyframe, *row.rejected_keyframes):
        if isinstance(image, str):
            open_image(image)
    for images in (row.clip_images, row.clip_negative_images):
        if images:
            open_image(images[0])
            open_image(images[-1])
    frames = row.video if isinstance(row.video, tuple) else ()
    for image in {*frames, *row.clip_images, *row.clip_negative_images}:
        image_size(image)
