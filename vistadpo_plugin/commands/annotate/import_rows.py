"""`vistadpo annotate import`: reviewed rows out of Label Studio's export, or boxes out of CVAT's."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from vistadpo_plugin.annotation.cvat import add_boxes, read_cvat
from vistadpo_plugin.annotation.label_studio.agreement import agreements
from vistadpo_plugin.annotation.label_studio.card import format_agreement, format_card
from vistadpo_plugin.annotation.label_studio.decide import REVIEWED_BY, UNUSABLE, accepted_rows
from vistadpo_plugin.annotation.label_studio.reviews import read_export
from vistadpo_plugin.data.rows.dataset_info import merge_info, write_info, write_rows, write_text
from vistadpo_plugin.data.rows.grounding import find_video
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.datasets.accounting import Account


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vistadpo annotate import",
        description=__doc__.splitlines()[0],
        epilog="Returns 1 when accepted rows could not be made or boxes not be given (they are listed), 2 when nothing "
        "could be done.",
    )
    parser.add_argument(
        "export", type=Path, help="Label Studio's export in JSON, or CVAT's annotations.xml (CVAT for video 1.1)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the data file to write, DATA.jsonl")
    parser.add_argument("--name", help="the data set's name in dataset_info.json (default: DATA)")
    parser.add_argument("--overwrite", action="store_true", help="replace DATA.jsonl when it is there")
    parser.add_argument(
        "--keep-annotators",
        action="store_true",
        help=f"say in each row who accepted it, as `{REVIEWED_BY}` (default: nobody is named)",
    )
    cvat = parser.add_argument_group("boxes of CVAT")
    cvat.add_argument("--rows", type=Path, help="the rows that get keyframe and box; needed with XML")
    cvat.add_argument("--media-dir", type=Path, help="folder that the rows' paths start at (default: the rows')")
    options = parser.parse_args(argv)
    if (options.export.suffix == ".xml") != (options.rows is not None):
        parser.error("--rows goes with CVAT's XML and with nothing else")
    return options


def main(argv: list[str]) -> int:
    """Import a review; returns 0, 1 when something had to be left out, or 2 with a sentence on standard error."""
    options = _parse(argv)
    options.command = shlex.join(["vistadpo", "annotate", "import", *argv])
    try:
        return _from_cvat(options) if options.export.suffix == ".xml" else _from_label_studio(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo annotate import: {error}", file=sys.stderr)
        return 2


def _check_output(options: argparse.Namespace) -> str:
    """The data set's name. Raises ValueError for an output that cannot be written, before the work."""
    output: Path = options.output
    if output.suffix != ".jsonl":
        raise ValueError(f"--output has to end in .jsonl, {output} does not.")
    if output.exists() and not options.overwrite:
        raise ValueError(f"{output} is there already; give --overwrite to replace it, or another --output.")
    name = options.name or output.stem
    merge_info(output.parent, {name: {"file_name": output.name}})
    return name


def _write(options: argparse.Namespace, name: str, rows: list[str], account: Account) -> None:
    account.written = len(rows)
    account.check()
    print(account.format())
    if not rows:
        raise ValueError("no row is left to write.")
    folder = options.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    write_text(options.output, "".join(f"{row}\n" for row in rows))
    write_info(folder, {name: {"file_name": options.output.name, "formatting": "vistadpo"}})
    write_rows(folder / f"{name}.report.jsonl", account.entries())
    print(f"{len(rows)} rows in {options.output}")
    print(f"In a recipe:\n  dataset: {name}\n  dataset_dir: {folder}")
    missing = sum(not _is_found(row, folder) for row in rows)
    if missing:
        print(
            f"  media_dir: the folder that the paths of the rows started from before the review: of {missing} of "
            f"{len(rows)} rows\n    the video is not found from {folder}. `vistadpo validate` and others take it as "
            "--media-dir."
        )


def _is_found(row: str, folder: Path) -> bool:
    """Whether the row's video is there, seen from `folder`."""
    try:
        find_video(parse_row(row, "row").video, str(folder), "row")
    except RowError:
        return False
    return True


def _from_label_studio(options: argparse.Namespace) -> int:
    name = _check_output(options)
    account = Account(noun="row")
    reviewed = read_export(options.export, account)
    rows = accepted_rows(reviewed, options.keep_annotators, account)
    _write(options, name, rows, account)
    agreed = agreements(reviewed)
    card = format_card(name, len(rows), options.output.name, options.command, account, agreed)
    write_text(options.output.parent / f"{name}.card.md", card)
    if agreed:
        print(format_agreement(agreed))
    return 1 if UNUSABLE in account.left_out else 0


def _from_cvat(options: argparse.Namespace) -> int:
    name = _check_output(options)
    tracks = read_cvat(options.export)
    sources = read_rows(str(options.rows))
    account = Account(noun="row", read=len(sources))
    rows, missed = add_boxes(sources, tracks, options.media_dir or options.rows.parent, account)
    _write(options, name, rows, account)
    return 1 if missed or account.left_out else 0
