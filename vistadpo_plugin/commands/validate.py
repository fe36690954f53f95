"""`vistadpo validate`: read every row and its video, and say precisely what is wrong with them."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable

from tqdm import tqdm

from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.validation.examine import Options, examine
from vistadpo_plugin.validation.report import as_json, as_text
from vistadpo_plugin.validation.source import find_source
from vistadpo_plugin.validation.tokens import ModelTokens

_EPILOG = """\
Exit status: 0 when every row can be used (there may be warnings), 1 when a row cannot, 2 for a wrong argument, or
where the processes that read the videos do not start.
docs/data.md lists all kinds of findings with what to do.
"""
_SHOWN = 10
# Where there is no terminal, a bar appears only when the work is long, and moves seldom.
_QUIET_SECONDS = 30.0


def positive(text: str) -> float:
    """A number above 0, as an option's value."""
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"has to be above 0, got {text}")
    return number


def count(text: str) -> int:
    """A whole number above 0, as an option's value."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"has to be 1 or more, got {text}")
    return number


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo validate", description=__doc__, epilog=_EPILOG)
    parser.add_argument("data", help="a file of rows (JSON lines or a JSON list), or a name with --dataset-dir")
    parser.add_argument("--dataset-dir", help="folder of the dataset_info.json that has the name")
    media = parser.add_mutually_exclusive_group()
    media.add_argument("--media-dir", help="folder below which the videos are (default: the folder of the data)")
    media.add_argument("--no-media", action="store_true", help="judge the annotations only, look for no videos")
    parser.add_argument("--no-decode", action="store_true", help="read headers and one picture a video (much faster)")
    parser.add_argument(
        "--video-fps", type=positive, default=2.0, help="the recipe's video_fps, for folders of frames (default: 2)"
    )
    parser.add_argument(
        "--model", help="folder or name of the model that the rows are for: also report its own tokens in their texts"
    )
    parser.add_argument(
        "--time-limit", type=positive, default=60.0, metavar="SECONDS", help="for one video (default: 60)"
    )
    parser.add_argument("--workers", type=count, default=cores(), help="processes that read (default: one a core)")
    parser.add_argument("--all", action="store_true", help=f"list all rows of a finding, not the first {_SHOWN}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the page")
    return parser.parse_args(argv)


def cores() -> int:
    """How many processes may run at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress(results: Iterable[tuple[int, object]], total: int) -> Iterable[tuple[int, object]]:
    """A bar on standard error: after a second on a terminal, after half a minute elsewhere."""
    terminal = sys.stderr.isatty()
    return tqdm(
        results,
        total=total,
        desc="reading videos",
        unit="video",
        delay=1.0 if terminal else _QUIET_SECONDS,
        mininterval=0.1 if terminal else _QUIET_SECONDS,
        leave=not terminal,
    )


def main(argv: list[str] | None = None) -> int:
    """Validate a data set; returns the exit status: 0, 1 when a row cannot be used, 2 for a wrong argument."""
    options = _parse(argv)
    try:
        source = find_source(options.data, options.dataset_dir)
        if options.media_dir is not None and not os.path.isdir(options.media_dir):
            raise ValueError(f"--media-dir {options.media_dir}: no such folder.")
        tokens = None if options.model is None else ModelTokens(options.model)
    except (OSError, ValueError) as error:
        print(f"vistadpo validate: {error}", file=sys.stderr)
        return 2
    thoroughness = Options(
        media_dir=None if options.no_media else options.media_dir or source.media_dir,
        given=options.media_dir is not None,
        images_fps=options.video_fps,
        decode=not options.no_decode,
        time_limit=options.time_limit,
        workers=options.workers,
        tokens=tokens,
    )
    try:
        report = examine(source, thoroughness, _progress)
    except KeyboardInterrupt:
        print("\nvistadpo validate: interrupted.", file=sys.stderr)
        return 130
    except OSError as error:  # what is wrong with the data is in the report; this is the machine
        print(f"vistadpo validate: {error}", file=sys.stderr)
        return 2
    if hasattr(sys.stdout, "reconfigure"):  # names and texts may hold what a terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    text = json.dumps(as_json(report), indent=2) if options.json else as_text(report, None if options.all else _SHOWN)
    print(text, flush=True)
    return int(report.has_errors)


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
