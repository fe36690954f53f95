"""`vistadpo convert`: rows to and from VistaDPO-7k's released layout, and to the host's plain preference format.

Checkpoints (`vistadpo convert llava-hound ...`, `vistadpo convert pllava ...`) are `convert.checkpoint`'s.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from vistadpo_plugin.commands.convert import checkpoint
from vistadpo_plugin.data.rows import strict_json
from vistadpo_plugin.data.rows.dataset_info import merge_info, write_info, write_rows
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.layouts.native import convert_to_native
from vistadpo_plugin.layouts.released import convert_to_released
from vistadpo_plugin.layouts.sharegpt import ENTRY, convert_to_sharegpt

VISTADPO = {"formatting": "vistadpo"}


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"has to be above 0, got {text}")
    return number


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vistadpo convert",
        description=__doc__.splitlines()[0],
        epilog="Returns 1 when rows were left out (they are listed), 2 when nothing could be done. Checkpoints are "
        "another matter: `vistadpo convert llava-hound --help`, `vistadpo convert pllava --help`.",
    )
    parser.add_argument("input", type=Path, help="rows in either layout, native or released (JSON lines or a list)")
    parser.add_argument(
        "--to",
        required=True,
        choices=("native", "released", "sharegpt"),
        help="native: our field names; released: VistaDPO-7k's, with frames cut into folders; sharegpt: the host's "
        "plain preference rows, for a DPO baseline",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the data file to write, DATA.jsonl")
    parser.add_argument("--media-dir", type=Path, help="folder that the rows' paths start at (default: the input's)")
    parser.add_argument("--name", help="the data set's name in dataset_info.json (default: DATA)")
    parser.add_argument(
        "--fps",
        type=_rate,
        default=2.0,
        help="frames a second cut into clip folders, and at which folders of frames are shown (default: 2)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output, and images in its folders")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Convert rows or a checkpoint; returns 0, 1 when rows were left out, or 2 with a sentence on standard error."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in checkpoint.KINDS:
        return checkpoint.main(argv)
    options = _parse(argv)
    try:
        return _convert(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo convert: {error}", file=sys.stderr)
        return 2


def _convert(options: argparse.Namespace) -> int:
    output: Path = options.output
    if output.suffix != ".jsonl":
        raise ValueError(f"--output has to end in .jsonl, {output} does not.")
    if output.exists() and os.path.samefile(output, options.input):
        raise ValueError("--output is the input; give it another name.")
    if output.exists() and not options.overwrite:
        raise ValueError(f"{output} is there already; give --overwrite to replace it, or another --output.")
    folder, name = output.parent, options.name or output.stem
    media_dir = options.media_dir or options.input.parent
    # Said before the work, not after it: a name that is taken.
    merge_info(folder, {name: {"file_name": output.name}})

    account = Account(noun="row")
    sources = _read(options.input, account)
    folder.mkdir(parents=True, exist_ok=True)
    frames: list[dict[str, Any]] = []
    if options.to == "native":
        rows, entry = convert_to_native(sources, folder, media_dir, account), VISTADPO
    elif options.to == "released":
        rows = convert_to_released(sources, folder, media_dir, options.fps, options.overwrite, account)
        entry = VISTADPO
    else:
        (rows, frames), entry = convert_to_sharegpt(sources, folder, media_dir, account), ENTRY
    account.written = len(rows) + len(frames)
    account.check()
    print(account.format())
    if not account.written:
        raise ValueError("no row is left to write.")

    files = {name: (output, rows), f"{name}_frames": (output.with_name(f"{output.stem}_frames.jsonl"), frames)}
    if not rows:  # one kind only: it gets the name
        files = {name: (output, frames)}
    files = {name: (path, made) for name, (path, made) in files.items() if made}
    for path, made in files.values():
        write_rows(path, made)
    write_info(folder, {name: {"file_name": path.name, **entry} for name, (path, _) in files.items()})
    write_rows(folder / f"{name}.report.jsonl", account.entries())
    for path, made in files.values():
        print(f"{len(made)} rows in {path}")
    if account.left_out:
        print(f"every row left out, and why: {folder / f'{name}.report.jsonl'}")
    stage = "\n  stage: dpo" if options.to == "sharegpt" else ""
    print(f"In a recipe:{stage}\n  dataset: {','.join(files)}\n  dataset_dir: {folder}")
    return 1 if account.left_out else 0


def _read(path: Path, account: Account) -> list[tuple[str, dict[str, Any]]]:
    """(place, row) of every row that is a JSON object; the others are left out."""
    sources = []
    for where, text in read_rows(str(path)):
        account.read += 1
        try:
            row = strict_json.loads(text)
        except strict_json.RepeatedKey as error:
            account.leave_out("repeated-key", where, str(error))
            continue
        except (ValueError, RecursionError) as error:
            account.leave_out("bad-json", where, f"not valid JSON ({error})")
            continue
        if isinstance(row, dict):
            sources.append((where, row))
        else:
            account.leave_out("bad-json", where, f"a row must be a JSON object, this one is a {type(row).__name__}")
    if not account.read:
        raise ValueError(f"{path}: no rows; one JSON object a line is expected.")
    return sources
