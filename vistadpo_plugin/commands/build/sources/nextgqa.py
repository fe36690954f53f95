"""`vistadpo build nextgqa`."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build.source import BuildSource
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.nextgqa import FACTS, find_split, read_nextgqa
from vistadpo_plugin.datasets.videos import VideoIndex


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, help="folder with SPLIT.csv and gsub_SPLIT.json")
    parser.add_argument("--split", help="val or test (default: the one that is there)")


def _read(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    split = find_split(options.annotations, options.split)
    return FACTS, read_nextgqa(options.annotations, split, account)


SOURCE = BuildSource("NExT-GQA: questions with event intervals", _add_arguments, _read)
