"""`vistadpo build tvqa-plus`."""

from __future__ import annotations

import argparse
import functools
import re
from pathlib import Path

from vistadpo_plugin.commands.build.source import BuildSource
from vistadpo_plugin.data.video.video import images_in
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.tvqa_plus import FACTS, FRAMES_PER_SECOND, read_tvqa_plus
from vistadpo_plugin.datasets.videos import VideoIndex


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, help="tvqa_plus_train.json or tvqa_plus_val.json")


def _read(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    @functools.cache
    def counted_from_one(video: str) -> bool:
        folder = videos.find(video)
        if folder is None:
            return True  # there is nothing to hold it against
        names = [Path(path).stem for path in images_in(str(folder))]
        return [re.sub(r"\D", "", name).lstrip("0") for name in names] == [str(n + 1) for n in range(len(names))]

    return FACTS, read_tvqa_plus(options.annotations, counted_from_one, account)


SOURCE = BuildSource(
    "TVQA+: questions with options, event, keyframe and box; videos are folders of frames",
    _add_arguments,
    _read,
    frames_per_second=FRAMES_PER_SECOND,
)
