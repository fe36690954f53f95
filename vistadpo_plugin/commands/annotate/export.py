"""`vistadpo annotate export`: rows into a folder that people review with Label Studio."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vistadpo_plugin.annotation.label_studio.export import CONFIGURATION_FILE, MEDIA, TASKS_FILE, export
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.datasets.accounting import Account


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"has to be above 0, got {text}")
    return number


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vistadpo annotate export",
        description=__doc__.splitlines()[0],
        epilog="Returns 1 when rows were left out (they are listed), 2 when nothing could be done.",
    )
    parser.add_argument("rows", type=Path, help="a file of rows, drafts or any others (JSON lines or a JSON list)")
    parser.add_argument("--to", required=True, choices=("label-studio",), help="the tool that reviews them")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to make")
    parser.add_argument("--media-dir", type=Path, help="folder that the rows' paths start at (default: the rows')")
    parser.add_argument(
        "--video-fps", type=_rate, default=2.0, help="the recipe's video_fps, for folders of frames (default: 2)"
    )
    parser.add_argument(
        "--media-url",
        help=f"where browsers find DIR/{MEDIA} (default: Label Studio's server of local files, see docs/data.md)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the tasks and media that DIR holds")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Export rows; returns 0, 1 when rows were left out, or 2 with a sentence on standard error."""
    options = _parse(argv)
    try:
        return _export(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo annotate export: {error}", file=sys.stderr)
        return 2


def _export(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; DIR is a folder to make.")
    if (folder / TASKS_FILE).exists() and not options.overwrite:
        raise ValueError(f"{folder / TASKS_FILE} is there already; give --overwrite to replace it, or another folder.")
    sources = read_rows(str(options.rows))
    if not sources:
        raise ValueError(f"{options.rows}: no rows; one JSON object a line is expected.")
    account = Account(noun="row", read=len(sources))
    media_dir = options.media_dir or options.rows.parent
    account.written = export(sources, folder, media_dir, options.video_fps, options.media_url, account)
    account.check()
    print(account.format())
    if not account.written:
        raise ValueError("no row is left to review.")
    print(f"labelling configuration: {folder / CONFIGURATION_FILE}\ntasks with their drafts: {folder / TASKS_FILE}")
    if options.media_url is None:
        print(
            "Start Label Studio with these, and give the project a local files storage with the path "
            f"{folder.resolve() / MEDIA} (docs/data.md, Review in Label Studio):\n"
            "  LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true\n"
            f"  LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={folder.resolve().parent}"
        )
    return 1 if account.left_out else 0
