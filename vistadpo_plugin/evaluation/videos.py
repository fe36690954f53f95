"""Which video, and which part of it, a question is about."""

from __future__ import annotations

from pathlib import Path

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.video.video import VIDEO_SUFFIXES, images_in
from vistadpo_plugin.evaluation.question import Question

Video = str | tuple[str, ...]
"""A video file, or the images of one in order."""


def find_video(root: Path, video: str) -> Video | None:
    """The file of a video below `root`, or the images of a folder of frames; also a file of another video ending."""
    path = root / video
    if path.is_dir():
        return images_in(str(path)) or None
    stem = path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path
    candidates = [path, *(stem.with_name(stem.name + suffix) for suffix in VIDEO_SUFFIXES)]
    return next((str(candidate) for candidate in candidates if candidate.is_file()), None)


def part_of(question: Question) -> tuple[float, float] | None:
    """The seconds that the question is about where it names `start` and `end`, else None: all of the video."""
    if "start" not in question.details:
        return None
    return float(question.details["start"]), float(question.details["end"])


def images_rate(question: Question) -> float | None:
    """The rate, a second, at which a folder of frames was taken from its video, where the question names it (`fps`)."""
    return float(question.details["fps"]) if "fps" in question.details else None


def viewed(question: Question, video: Video) -> GroundedRow:
    """The question's video as training names one, its part as the row's event.

    Raises ValueError for a part of a folder of frames that nobody says the rate of.
    """
    part = part_of(question)
    if part is not None and not isinstance(video, str) and images_rate(question) is None:
        raise ValueError(
            f"question {question.id} is about a part, in seconds, of a folder of frames, but `fps` is not among its "
            "details: there is no telling which frames."
        )
    return GroundedRow(question.id, f"question {question.id}", video, events=() if part is None else (part,))
