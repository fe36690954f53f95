"""A run of `vistadpo build`: questions read, rows checked, drawn and written, and what is printed of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build.sources import SOURCES
from vistadpo_plugin.data.rows.dataset_info import merge_info, read_info, write_info, write_rows, write_text
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.card import format_card
from vistadpo_plugin.datasets.polish import polish
from vistadpo_plugin.datasets.rewrite import Pace, ReplyCache, Rewriter, open_client
from vistadpo_plugin.datasets.rows import Splits, draft_rows, split_rows
from vistadpo_plugin.datasets.source import Coverage
from vistadpo_plugin.datasets.videos import VideoIndex


def build(options: argparse.Namespace) -> int:
    """The whole run; returns 0. Raises ValueError or OSError with what is to be said."""
    output: Path = options.output
    folder, name = output.parent, options.name or output.stem
    files = {"train": output.name, "validation": f"{output.stem}_val{output.suffix}"}
    entries = {
        name if split == "train" else f"{name}_val": {"file_name": file, "formatting": "vistadpo"}
        for split, file in files.items()
        if split == "train" or options.val_share
    }
    merge_info(folder, entries)  # a name that is taken, or a key that is missing, is said before the work
    # Rows of an earlier run that were held out then may be trained on now: their file is replaced too, or goes.
    stale = read_info(folder).get(f"{name}_val", {}).get("file_name") == files["validation"]
    splits_to_write = list(files) if options.val_share or stale else ["train"]
    _check_output([folder / files[split] for split in splits_to_write], options.overwrite)
    rewriter = _rewriter(options) if options.rewrite else None
    chosen = SOURCES[options.source]
    account = Account(chosen.noun)
    videos = VideoIndex(options.videos, chosen.frames_per_second)
    source, questions = chosen.read(options, videos, account)
    coverage = Coverage.of(source, account.noun, questions, videos)
    folder.mkdir(parents=True, exist_ok=True)
    # Said even where no row is left: then it matters most.
    _list_missing(folder / f"{name}.missing.txt", coverage)
    drafts = draft_rows(questions, videos, folder, options.allow_missing_videos, options.seed, account)
    splits = split_rows(drafts, options.val_share, options.seed, account) if drafts else Splits([])
    account.written = sum(map(len, splits.named().values()))
    account.check()
    if not account.written:
        print(account.format())
        print(coverage.sentence())
        raise ValueError("no row is left to write; --allow-missing-videos goes without videos, for now.")
    if rewriter is not None:
        splits = polish(splits, rewriter, account)

    written = {draft.question.video for members in splits.named().values() for draft in members}
    for stem in sorted(videos.doubles):
        if stem in written:
            account.note("a video found more than once, the first is taken", stem, ", ".join(videos.doubles[stem]))
    for split in splits_to_write:
        write_rows(folder / files[split], [draft.row() for draft in splits.named().get(split, [])])
    model = options.model if options.rewrite else None
    card = format_card(name, source, coverage, splits, files, account, options.command, options.seed, model)
    write_text(folder / f"{name}.card.md", card)
    write_rows(folder / f"{name}.report.jsonl", account.entries())
    write_info(folder, entries, without=[f"{name}_val"] if stale and not options.val_share else [])
    _say(options, splits, files, name, account, coverage)
    return 0


def _list_missing(path: Path, coverage: Coverage) -> None:
    """One video a line, for tools that fetch or look for them; no file where all are there."""
    if coverage.missing:
        write_text(path, "".join(f"{video}\n" for video in coverage.missing))
    else:
        path.unlink(missing_ok=True)


def _check_output(files: list[Path], overwrite: bool) -> None:
    for path in files:
        if path.suffix != ".jsonl":
            raise ValueError(f"--output has to end in .jsonl, {path} does not.")
        if path.exists() and not overwrite:
            raise ValueError(f"{path} is there already; give --overwrite to replace it, or another --output.")


def _rewriter(options: argparse.Namespace) -> Rewriter:
    cache = ReplyCache(options.cache or options.output.with_suffix(".rewrites.jsonl"), options.model)
    client = open_client(options.base_url)
    return Rewriter(client, options.model, cache, Pace(options.requests_per_minute), options.parallel)


def _say(
    options: argparse.Namespace, splits: Splits, files: dict[str, str], name: str, account: Account, coverage: Coverage
) -> None:
    folder = options.output.parent
    print(account.format())
    print(coverage.sentence() + (f": {folder / f'{name}.missing.txt'}" if coverage.missing else ""))
    for split, members in splits.named().items():
        count = len({draft.question.video for draft in members})
        print(f"{split}: {len(members)} rows about {count} videos in {folder / files[split]}")
    print(f"card: {folder / f'{name}.card.md'}")
    if account.entries():
        print(f"in detail: {folder / f'{name}.report.jsonl'}")
    evaluation = f"\n  eval_dataset: {name}_val" if splits.validation else ""
    rate = SOURCES[options.source].frames_per_second
    frames = f"\n  video_fps: {rate:g}" if rate else ""
    print(f"In a recipe:\n  dataset: {name}{evaluation}\n  dataset_dir: {folder}{frames}")
