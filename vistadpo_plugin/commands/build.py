"""`vistadpo build`: grounded rows for `stage: vistadpo` from public annotations, with every question accounted for."""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.data.rows.dataset_info import merge_info, read_info, write_info, write_rows, write_text
from vistadpo_plugin.data.video.video import VideoError
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.card import NEXTGQA, STAR, Source, format_card
from vistadpo_plugin.datasets.nextgqa import find_split, read_nextgqa
from vistadpo_plugin.datasets.polish import polish
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.rewrite import Pace, ReplyCache, Rewriter, open_client
from vistadpo_plugin.datasets.rows import Splits, draft_rows, split_rows
from vistadpo_plugin.datasets.star import SHOWN_TYPES, TYPES, read_star
from vistadpo_plugin.datasets.videos import VideoIndex, frame_rate


def _above_zero(kind: Callable[[str], float], text: str) -> float:
    number = kind(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"has to be above 0, got {text}")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"has to be at least 0 and below 1, got {text}")
    return number


_rate = functools.partial(_above_zero, float)
_number = functools.partial(_above_zero, int)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--videos", type=Path, required=True, help="folder with the videos, sub-folders included")
    common.add_argument("-o", "--output", type=Path, required=True, help="the data file to write, DATA.jsonl")
    common.add_argument("--name", help="the data set's name in dataset_info.json (default: DATA)")
    common.add_argument("--seed", type=int, default=0, help="decides wrong and irrelevant answers and the split")
    common.add_argument(
        "--val-share", type=_share, default=0.0, help="share of the videos held out, into DATA_val.jsonl (default: 0)"
    )
    common.add_argument(
        "--allow-missing-videos", action="store_true", help="write rows whose videos are not in the folder yet"
    )
    common.add_argument("--overwrite", action="store_true", help="replace DATA.jsonl when it is there")
    rewriting = common.add_argument_group("rewriting the answers with a language model (off by default)")
    rewriting.add_argument(
        "--rewrite", action="store_true", help="make options sentences through an OpenAI-compatible endpoint"
    )
    rewriting.add_argument("--model", help="the model to ask")
    rewriting.add_argument("--base-url", help="the endpoint (default: OpenAI's); the key is read from OPENAI_API_KEY")
    rewriting.add_argument(
        "--requests-per-minute", type=_rate, default=300.0, help="how fast to ask at most (default: 300)"
    )
    rewriting.add_argument("--parallel", type=_number, default=4, help="requests under way at a time (default: 4)")
    rewriting.add_argument("--cache", type=Path, help="where replies are kept (default: DATA.rewrites.jsonl)")

    parser = argparse.ArgumentParser(prog="vistadpo build", description=__doc__)
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    nextgqa = sources.add_parser("nextgqa", parents=[common], help="NExT-GQA: questions with event intervals")
    nextgqa.add_argument("--annotations", type=Path, required=True, help="folder with SPLIT.csv and gsub_SPLIT.json")
    nextgqa.add_argument("--split", help="val or test (default: the one that is there)")
    star = sources.add_parser("star", parents=[common], help="STAR: questions with segment, keyframe and box")
    star.add_argument("--annotations", type=Path, required=True, help="STAR_train.json or STAR_val.json")
    star.add_argument(
        "--types",
        nargs="+",
        choices=TYPES,
        default=list(SHOWN_TYPES),
        help=f"question types (default: {' '.join(SHOWN_TYPES)}; the others ask for what the segment does not show)",
    )
    star.add_argument(
        "--fps", type=_rate, help="frame rate that the frame numbers count in (default: that of each video's header)"
    )
    options = parser.parse_args(argv)
    if options.rewrite and not options.model:
        parser.error("--rewrite needs --model")
    return options


def main(argv: list[str] | None = None) -> int:
    """Build a data set; returns 0, or 2 with a sentence on standard error."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parse(argv)
    options.command = shlex.join(["vistadpo", "build", *argv])
    try:
        return _build(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo build: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nvistadpo build: interrupted; nothing was written but replies, the same command goes on.", file=sys.stderr
        )
        return 130


def _build(options: argparse.Namespace) -> int:
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
    account = Account()
    videos = VideoIndex(options.videos)
    read = {"nextgqa": _read_nextgqa, "star": _read_star}[options.source]
    source, questions = read(options, videos, account)
    folder.mkdir(parents=True, exist_ok=True)
    drafts = draft_rows(questions, videos, folder, options.allow_missing_videos, options.seed, account)
    if not drafts:
        print(account.format())
        raise ValueError("no row is left to write; --allow-missing-videos goes without videos, for now.")
    splits = split_rows(drafts, options.val_share, options.seed, account)
    if rewriter is not None:
        splits = polish(splits, rewriter, account)
    account.written = len(drafts)
    account.check()

    for stem in sorted(videos.doubles):
        if any(draft.question.video == stem for draft in drafts):
            account.note("a video found more than once, the first is taken", stem, ", ".join(videos.doubles[stem]))
    for split in splits_to_write:
        write_rows(folder / files[split], [draft.row() for draft in splits.named().get(split, [])])
    model = options.model if options.rewrite else None
    card = format_card(name, source, splits, files, account, options.command, options.seed, model)
    write_text(folder / f"{name}.card.md", card)
    write_rows(folder / f"{name}.report.jsonl", account.entries())
    write_info(folder, entries, without=[f"{name}_val"] if stale and not options.val_share else [])
    _say(options, splits, files, name, account)
    return 0


def _check_output(files: list[Path], overwrite: bool) -> None:
    for path in files:
        if path.suffix != ".jsonl":
            raise ValueError(f"--output has to end in .jsonl, {path} does not.")
        if path.exists() and not overwrite:
            raise ValueError(f"{path} is there already; give --overwrite to replace it, or another --output.")


def _read_nextgqa(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    split = find_split(options.annotations, options.split)
    return NEXTGQA, read_nextgqa(options.annotations, split, account)


def _read_star(options: argparse.Namespace, videos: VideoIndex, account: Account) -> tuple[Source, list[Question]]:
    @functools.cache
    def rate_of(video: str) -> float | None:
        path = videos.find(video)
        try:
            return options.fps or (frame_rate(path) if path else None)
        except VideoError:
            return None  # the row's own check says so

    return STAR, read_star(options.annotations, options.types, rate_of, account)


def _rewriter(options: argparse.Namespace) -> Rewriter:
    cache = ReplyCache(options.cache or options.output.with_suffix(".rewrites.jsonl"), options.model)
    client = open_client(options.base_url)
    return Rewriter(client, options.model, cache, Pace(options.requests_per_minute), options.parallel)


def _say(options: argparse.Namespace, splits: Splits, files: dict[str, str], name: str, account: Account) -> None:
    folder = options.output.parent
    print(account.format())
    for split, members in splits.named().items():
        count = len({draft.question.video for draft in members})
        print(f"{split}: {len(members)} rows about {count} videos in {folder / files[split]}")
    print(f"card: {folder / f'{name}.card.md'}")
    if account.entries():
        print(f"in detail: {folder / f'{name}.report.jsonl'}")
    evaluation = f"\n  eval_dataset: {name}_val" if splits.validation else ""
    print(f"In a recipe:\n  dataset: {name}{evaluation}\n  dataset_dir: {folder}")


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
