"""`vistadpo build preferences`: plain rows from preference pairs in the layouts of other projects."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build.output import Output, nothing_left
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.preferences.card import format_card
from vistadpo_plugin.datasets.preferences.files import PairFile, open_file, read_pairs
from vistadpo_plugin.datasets.preferences.layouts import LAYOUTS
from vistadpo_plugin.datasets.preferences.media import MediaFolder
from vistadpo_plugin.datasets.preferences.rows import cover, make_rows, split_rows

HELP = "pairs that are there already: LLaVA-Hound's, RRPO's, TEMPLE's and ms-swift's, TRL's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this source alone."""
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, help="files of pairs, .jsonl or .json")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), help="the layout of all files (default: told by fields)")
    parser.add_argument(
        "--images-are-frames", action="store_true", help="take several images of a pair as the frames of a video"
    )


def build(options: argparse.Namespace) -> int:
    """The whole run; returns 0. Raises ValueError or OSError with what is to be said."""
    output = Output(options.output, options.name, options.val_share, options.overwrite)
    media = MediaFolder(options.videos)
    files = _open(options.annotations, options.layout)
    account = Account(noun="pair")
    pairs = {
        where: (file.layout.name, pair)
        for file in files
        for where, pair in read_pairs(file, options.images_are_frames, account).items()
    }
    coverages = cover(pairs, media)
    output.list_missing(coverages)
    rows = make_rows(pairs, media, output.folder, options.allow_missing_videos, account)
    account.written = len(rows)
    account.check()
    for name, places in sorted(media.doubles.items()):
        account.note("a video found more than once, the first is taken", name, ", ".join(places))
    if not rows:
        print(account.format(), *(coverage.sentence() for coverage in coverages), sep="\n")
        raise nothing_left(coverages, options.allow_missing_videos)
    splits = split_rows(rows, options.val_share, options.seed)
    layouts = {file.path.name: file.layout for file in files}
    card = format_card(output.name, layouts, splits, output.files, coverages, account, options.command, options.seed)
    output.write({split: [row.fields for row in members] for split, members in splits.items()}, card, account)
    counts = {split: (len(members), len({row.video for row in members})) for split, members in splits.items()}
    output.say(account, coverages, counts)
    return 0


def _open(paths: list[Path], layout: str | None) -> list[PairFile]:
    """The files, each with its layout. Raises ValueError for two of one name, which rows are named by."""
    files: dict[str, PairFile] = {}
    for path in paths:
        if path.name in files:
            raise ValueError(f"two files are called {path.name}, and rows are named by their file: rename one of them.")
        files[path.name] = open_file(path, layout)
        print(f"{path}: {len(files[path.name].entries)} pairs in the layout {files[path.name].layout.name}")
    return list(files.values())
