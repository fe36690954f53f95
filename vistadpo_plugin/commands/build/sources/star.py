"""`vistadpo build star`."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build.numbers import rate
from vistadpo_plugin.commands.build.source import BuildSource, rate_by_header
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.star import FACTS, SHOWN_TYPES, TYPES, read_star
from vistadpo_plugin.datasets.videos import VideoIndex


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
    rate_of = rate_by_header(videos, options.fps)
    return FACTS, read_star(options.annotations, options.types, rate_of, account)


SOURCE = BuildSource("STAR: questions with segment, keyframe and box", _add_arguments, _read)
