"""`vistadpo build vidstg`."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build.source import BuildSource
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.vidor import VidorFolder
from vistadpo_plugin.datasets.sources.vidstg import FACTS, read_vidstg
from vistadpo_plugin.datasets.videos import VideoIndex


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, help="train_, val_ or test_annotations.json")
    parser.add_argument(
        "--vidor", type=Path, metavar="FOLDER", help="VidOR's annotations, sub-folders included: keyframe and box"
    )


def _read(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    vidor = VidorFolder(options.vidor).find if options.vidor else None
    return FACTS, read_vidstg(options.annotations, vidor, account)


SOURCE = BuildSource("VidSTG: questions for an object, with event, and VidOR's boxes", _add_arguments, _read)
