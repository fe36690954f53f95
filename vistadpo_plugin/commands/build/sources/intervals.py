"""`vistadpo build intervals`."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build.numbers import rate
from vistadpo_plugin.commands.build.source import BuildSource, rate_by_header
from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.intervals.events import Event, read_events
from vistadpo_plugin.datasets.sources.intervals.facts import FACTS
from vistadpo_plugin.datasets.sources.intervals.objects import ground_object, read_action_genome, read_star_boxes
from vistadpo_plugin.datasets.sources.intervals.questions import ask
from vistadpo_plugin.datasets.videos import VideoIndex


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations", type=Path, required=True,
        help="charades_sta_train.txt, ActivityNet Captions' train.json or QVHighlights' highlight_train_release.jsonl; "
        "which it is, its content tells",
    )  # fmt: skip
    boxes = parser.add_mutually_exclusive_group()
    boxes.add_argument(
        "--action-genome", type=Path, metavar="PKL", help="boxes for Charades-STA: object_bbox_and_relationship.pkl"
    )
    boxes.add_argument(
        "--star", type=Path, nargs="+", metavar="JSON", help="boxes for Charades-STA: STAR_train.json, STAR_val.json"
    )
    parser.add_argument(
        "--fps", type=rate, help="frame rate that the boxes' frames count in (default: that of each video's header)"
    )


def _read(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    kind, events = read_events(options.annotations, account)
    boxed = options.action_genome is not None or options.star is not None
    if not boxed:
        return FACTS[kind], ask(events, lambda event: (event.keyframe, (), ()), options.seed)
    if kind != "charades-sta":
        raise ValueError(
            f"{options.annotations} is of {FACTS[kind].title}; --action-genome and --star have boxes of Charades' "
            "videos only."
        )
    read = read_star_boxes(options.star) if options.star else read_action_genome(options.action_genome)
    rate_of = rate_by_header(videos, options.fps)

    def grounding(event: Event) -> tuple[float | None, tuple[Box, ...], tuple[str, ...]]:
        return ground_object(event, read, rate_of)

    return FACTS[kind], ask(events, grounding, options.seed)


SOURCE = BuildSource(
    "Charades-STA, ActivityNet Captions or QVHighlights: sentences with intervals", _add_arguments, _read, "sentence"
)
