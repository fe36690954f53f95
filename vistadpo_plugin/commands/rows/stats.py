"""`vistadpo rows stats`: what a set of rows is like."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from vistadpo_plugin.commands.rows import common
from vistadpo_plugin.commands.validate import cores, positive
from vistadpo_plugin.curation.entries import read_entries
from vistadpo_plugin.curation.stats.measure import NOT_SAID, label, measure
from vistadpo_plugin.curation.stats.plot import plot_facts
from vistadpo_plugin.curation.stats.table import format_facts
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.datasets.accounting import Account

_SOURCE = "source"


def main(argv: list[str]) -> int:
    """Print the tables and draw the picture; returns 0."""
    options = _parse(argv)
    _check_picture(options)
    account = Account(noun="row")
    entries, owners = [], []
    for source in common.sources(options):
        read = read_entries(source, options.media_dir, options.on_bad_row, account)
        # Files that do not say where their rows are from are told apart as files.
        absent = source.name if options.by == _SOURCE else NOT_SAID
        entries += read
        owners += [label(entry, options.by, absent) for entry in read]
    workers = 0 if options.no_media else cores()
    rows = measure(entries, owners, options.video_fps, workers, _progress)
    print(format_facts(rows, options.by))
    unknown = [entry for entry, row in zip(entries, rows, strict=True) if row.seconds is None]
    if unknown and not options.no_media:
        print(f"\nThe videos of {plural(len(unknown), 'row')} could not be read, as of {unknown[0].where}.")
    if account.left_out:
        account.written = len(entries)
        print(f"\n{account.format()}")
    if options.png is not None:
        plot_facts(rows, options.png)
        print(f"\npicture: {options.png}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = common.parser(
        "stats",
        "Lengths of videos, events and answers, boxes and kinds of negatives, as two tables and on demand a picture. "
        "Headers of videos are read, nothing is decoded but one picture of a video with boxes.",
        several=True,
    )
    parser.add_argument("--by", default=_SOURCE, metavar="FIELD", help="tell rows apart by it (default: source)")
    parser.add_argument("--png", type=Path, help="draw a picture into this file")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture when it is there")
    parser.add_argument("--no-media", action="store_true", help="the annotations only, look for no videos")
    parser.add_argument("--video-fps", type=positive, default=2.0, help="rate of folders of frames (default: 2)")
    return parser.parse_args(argv)


def _check_picture(options: argparse.Namespace) -> None:
    if options.png is None:
        return
    if options.png.suffix != ".png":
        raise ValueError(f"--png has to end in .png, {options.png} does not.")
    if options.png.exists() and not options.overwrite:
        raise ValueError(f"{options.png} is there already; give --overwrite to replace it, or another --png.")


def _progress(results: Iterable[tuple[int, object]], total: int) -> Iterable[tuple[int, object]]:
    return tqdm(results, total=total, desc="reading videos", unit="video", disable=None, delay=1.0)
