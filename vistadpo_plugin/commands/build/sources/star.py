"""`vistadpo build star`."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from vistadpo_plugin.commands.build.numbers import rate
from vistadpo_plugin.commands.build.source import BuildSource
from vistadpo_plugin.data.video.video import VideoError
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.star import FACTS, SHOWN_TYPES, TYPES, read_star
from vistadpo_plugin.datasets.videos import VideoIndex, frame_rate


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, help="STAR_train.json or STAR_val.json")
    parser.add_argument(
        "--types",
        nargs="+",
        choices=TYPES,
        default=list(SHOWN_TYPES),
        help=f"question types (default: {' '.join(SHOWN_TYPES)}; the others ask for what the segment does not show)",
    )
    parser.add_argument(
        "--fps", type=rate, help="frame rate that the frame numbers count in (default: that of each video's header)"
    )


def _read(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    @functools.cache
    def rate_of(video: str) -> float | None:
        path = videos.find(video)
        try:
            return options.fps or (frame_rate(path) if path else None)
        except VideoError:
            return None  # the row's own check says so

    return FACTS, read_star(options.annotations, options.types, rate_of, account)


SOURCE = BuildSource("STAR: questions with segment, keyframe and box", _add_arguments, _read)
