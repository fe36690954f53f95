"""What the verbs of `vistadpo rows` have in common: where rows come from, where they go, and what is said of both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vistadpo_plugin.curation.entries import SKIP, STOP, Entry, Recordings, find_recordings, read_entries
from vistadpo_plugin.curation.output import Output
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.validation.source import Source, find_source


def share(text: str) -> float:
    """A number above 0 and below 1, as an option's value."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"has to be above 0 and below 1, got {text}")
    return number


def parser(verb: str, description: str, several: bool = False) -> argparse.ArgumentParser:
    """A parser with the options about input; `several` data files or one."""
    made = argparse.ArgumentParser(prog=f"vistadpo rows {verb}", description=description)
    made.add_argument(
        "data",
        nargs="+" if several else None,
        help="rows (JSON lines or a JSON list), a folder of such files, or a name with --dataset-dir",
    )
    made.add_argument("--dataset-dir", help="folder of the dataset_info.json that has the name")
    made.add_argument("--media-dir", type=Path, help="folder that the rows' paths start at (default: the data's)")
    made.add_argument(
        "--on-bad-row",
        choices=(STOP, SKIP),
        default=STOP,
        help="of a row that cannot be read: stop and say so (default), or leave it out and count it",
    )
    return made


def add_output(made: argparse.ArgumentParser) -> None:
    """Add the options about the file to write."""
    made.add_argument("-o", "--output", type=Path, required=True, help="the data file to write, DATA.jsonl")
    made.add_argument("--name", help="the data set's name in dataset_info.json (default: DATA)")
    made.add_argument("--overwrite", action="store_true", help="replace what is there")


def sources(options: argparse.Namespace) -> list[Source]:
    """The files that the options name. Raises ValueError."""
    if options.media_dir is not None and not options.media_dir.is_dir():
        raise ValueError(f"--media-dir {options.media_dir}: no such folder.")
    named = options.data if isinstance(options.data, list) else [options.data]
    return [find_source(data, options.dataset_dir) for data in named]


def read(options: argparse.Namespace, found: Sequence[Source], account: Account) -> list[Entry]:
    """All rows of the sources. Raises ValueError, see `read_entries`."""
    return [entry for source in found for entry in read_entries(source, options.media_dir, options.on_bad_row, account)]


def files(found: Sequence[Source]) -> list[str]:
    """All files of the sources."""
    return [file for source in found for file in source.files]


def recordings(entries: Sequence[Entry], with_rejected: bool = False) -> Recordings:
    """See `find_recordings`; with a remark on standard error where videos are not there."""
    found = find_recordings(entries, with_rejected=with_rejected)
    if found.absent:
        print(found.warning(), file=sys.stderr)
    return found


def say(output: Output, entries: Sequence[Sequence[Entry]], account: Account) -> None:
    """What was written where, what was left out, and the lines for a recipe."""
    if account.left_out or account.noted:
        print(account.format())
        if account.entries():
            print(f"in detail: {output.path.parent / f'{output.name}.report.jsonl'}")
    for file, members in zip(output.files.values(), entries, strict=True):
        print(f"{plural(len(members), 'row')} in {file}")
    evaluation = f"\n  eval_dataset: {output.name}_val" if f"{output.name}_val" in output.files else ""
    print(f"In a recipe:\n  dataset: {output.name}{evaluation}\n  dataset_dir: {output.path.parent}")
