"""What `vistadpo build` has to know about a source of rows."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass

from vistadpo_plugin.data.video.video import VideoError
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.videos import VideoIndex, frame_rate

Read = Callable[[argparse.Namespace, VideoIndex, Account], tuple[Source, list[Question]]]


@dataclass(frozen=True)
class BuildSource:
    """One SOURCE of the command line.

    `help` is its line there, `add_arguments` gives its parser the arguments of its own. `read` reads the annotations
    that the options name: every question is counted in the account, the usable ones come back with the card's facts;
    it raises ValueError for files that are not the source's. `noun` is what the account counts. A source whose videos
    are folders of frames says at how many `frames_per_second` they were taken.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    read: Read
    noun: str = "question"
    frames_per_second: float | None = None


def rate_by_header(videos: VideoIndex, fps: float | None) -> Callable[[str], float | None]:
    """The frame rate of a video by its id: `fps` where given, else its header's; None for a video that is not there."""

    @functools.cache
    def rate_of(video: str) -> float | None:
        path = videos.find(video)
        try:
            return fps or (frame_rate(path) if path else None)
        except VideoError:
            return None  # the row's own check says so

    return rate_of
