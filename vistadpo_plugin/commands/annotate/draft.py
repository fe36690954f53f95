"""`vistadpo annotate VIDEOS`: drafts of rows from a vision-language model, each checked before a person looks at it."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vistadpo_plugin.annotation.drafting.card import format_card, format_checks
from vistadpo_plugin.annotation.drafting.draft import PIXELS, THOUSANDTHS, Settings
from vistadpo_plugin.annotation.drafting.estimate import Price, estimate, format_spent
from vistadpo_plugin.annotation.drafting.footage import Footage, find_videos, survey
from vistadpo_plugin.annotation.drafting.judge import judge_drafts
from vistadpo_plugin.annotation.drafting.pictures import Pictures
from vistadpo_plugin.annotation.drafting.prompts import PromptPack, read_prompts
from vistadpo_plugin.annotation.drafting.run import CALLER, choose_videos, draft_videos
from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.data.rows.dataset_info import write_rows, write_text
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.videos import path_for
from vistadpo_plugin.endpoint import Chat, Pace, ReplyCache, open_client
from vistadpo_plugin.secrets.texts import holds_secret

FRAMES, VIDEO = "frames", "video"

_EPILOG = """\
Exit status: 0 when drafts were written, 1 when nothing was sent (it was not agreed to), 2 for a wrong argument or an
endpoint that cannot be used, 130 after Ctrl-C. `vistadpo annotate export -h` and `vistadpo annotate import -h` are the
way to a labelling tool and back; docs/data.md has all of it.
"""


def _above_zero(kind: Callable[[str], float], text: str) -> float:
    number = kind(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"has to be above 0, got {text}")
    return number


def _price(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"has to be 0 or more, got {text}")
    return number


_rate = functools.partial(_above_zero, float)
_number = functools.partial(_above_zero, int)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo annotate", description=__doc__, epilog=_EPILOG)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEOS", help="video files, or folders of them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file of drafts to write, DATA.jsonl")
    parser.add_argument("--overwrite", action="store_true", help="replace DATA.jsonl when it is there")
    parser.add_argument("--yes", action="store_true", help="send what the estimate tells of, without asking")

    endpoint = parser.add_argument_group("the endpoint, any OpenAI-compatible one that takes pictures")
    endpoint.add_argument("--model", required=True, help="the model to ask")
    endpoint.add_argument("--base-url", help="the endpoint (default: OpenAI's); the key is read from OPENAI_API_KEY")
    endpoint.add_argument(
        "--requests-per-minute", type=_rate, default=300.0, help="how fast to ask at most (default: 300)"
    )
    endpoint.add_argument("--parallel", type=_number, default=4, help="videos under way at a time (default: 4)")
    endpoint.add_argument("--cache", type=Path, help="where replies are kept (default: DATA.replies.jsonl)")
    endpoint.add_argument(
        "--timeout", type=_rate, default=300.0, metavar="SECONDS", help="for one reply (default: 300)"
    )
    endpoint.add_argument("--price-in", type=_price, help="price of a million tokens sent, to tell the cost")
    endpoint.add_argument("--price-out", type=_price, help="price of a million tokens replied")

    shown = parser.add_argument_group("what the model is shown and asked for")
    shown.add_argument("--per-video", type=_number, default=3, help="drafts a video (default: 3)")
    shown.add_argument(
        "--send",
        choices=(FRAMES, VIDEO),
        default=FRAMES,
        help="frames: pictures with their times; video: the file as it is, as `video_url`, which few endpoints take "
        "(llamafactory-cli api does). The checks send frames (default: frames)",
    )
    shown.add_argument("--frames", type=_number, default=16, help="pictures a request at most (default: 16)")
    shown.add_argument(
        "--stretch",
        type=_rate,
        default=60.0,
        metavar="SECONDS",
        help="of a longer video, a stretch of so many seconds is shown for each draft (default: 60)",
    )
    shown.add_argument(
        "--scenes", action="store_true", help="find the cuts, and take stretches and frames scene by scene"
    )
    shown.add_argument(
        "--picture-side", type=_number, default=768, metavar="PIXELS", help="the longer side at most (default: 768)"
    )
    shown.add_argument(
        "--boxes",
        choices=(THOUSANDTHS, PIXELS),
        default=THOUSANDTHS,
        help="how the model is used to give boxes: Qwen2.5-VL in pixels, Qwen3-VL, InternVL and others in thousandths "
        "of the picture (default: thousandths)",
    )
    shown.add_argument(
        "--no-ask-back", action="store_true", help="do not have the model check its drafts (five requests a draft)"
    )

    reading = parser.add_argument_group("reading the videos")
    reading.add_argument(
        "--time-limit", type=_rate, default=60.0, metavar="SECONDS", help="for one video (default: 60)"
    )
    reading.add_argument("--workers", type=_number, default=_cores(), help="processes that read (default: one a core)")
    return parser.parse_args(argv)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(argv: list[str] | None = None) -> int:
    """Draft rows; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parse(argv)
    words = ["[left out]" if holds_secret(word) else word for word in argv]
    options.command = shlex.join(["vistadpo", "annotate", *words])
    try:
        return _annotate(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo annotate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nvistadpo annotate: interrupted; nothing was written but replies, the same command goes on.",
            file=sys.stderr,
        )
        return 130


def _annotate(options: argparse.Namespace) -> int:
    output: Path = options.output
    if output.suffix != ".jsonl":
        raise ValueError(f"--output has to end in .jsonl, {output} does not.")
    if output.exists() and not options.overwrite:
        raise ValueError(f"{output} is there already; give --overwrite to replace it, or another --output.")
    pack = read_prompts()
    settings = Settings(
        drafts=options.per_video,
        frames=options.frames,
        longest=options.stretch,
        scenes=options.scenes,
        side=options.picture_side,
        boxes=options.boxes,
        whole=options.send == VIDEO,
        ask_back=not options.no_ask_back,
    )
    price = Price(options.price_in, options.price_out)
    cache = ReplyCache(options.cache or output.with_suffix(".replies.jsonl"), options.model)
    client = open_client(options.base_url, CALLER, options.timeout) if options.yes else None

    account = Account(noun="draft", done="asked for")
    videos = find_videos(options.videos)
    surveyed = survey(videos, settings.scenes, options.time_limit, options.workers, _reading("reading videos"))
    footages = choose_videos(*surveyed, settings, account)
    if not footages:
        print(account.format())
        raise ValueError("there is no video to ask about.")
    print(estimate(footages, pack, settings).format(price, cache.spent), flush=True)
    if not (options.yes or _agreed()):
        print("Nothing was sent. The same command with --yes sends it.")
        return 1
    client = client or open_client(options.base_url, CALLER, options.timeout)

    pace = Pace(options.requests_per_minute)
    chat = Chat(client, options.model, cache, pace, options.parallel, CALLER, seconds=2 * options.timeout)
    output.parent.mkdir(parents=True, exist_ok=True)
    rows = _draft(footages, chat, pack, settings, options, account, price)
    rows, found = judge_drafts(
        rows, output.parent, output.name, account, _reading("checking rows"), options.workers, options.time_limit
    )
    account.written = len(rows)
    account.check()
    print(f"asked: {format_spent(cache.spent, price)}")
    print(account.format())
    if not rows:
        raise ValueError(f"no draft is left to write{f'; the replies are in {cache.path}' if len(cache) else ''}.")
    card = format_card(output.stem, output.name, rows, pack, settings, options.model, account, found, options.command)
    write_text(output.with_suffix(".card.md"), card)
    write_rows(output.with_suffix(".report.jsonl"), account.entries())
    write_rows(output, rows)
    print(format_checks(rows))
    for finding in found:
        print(f"validate, {finding.kind}: {finding.message}")
    print(f"drafts: {output}\ncard: {output.with_suffix('.card.md')}")
    if account.entries():
        print(f"in detail: {output.with_suffix('.report.jsonl')}")
    return 0


def _draft(
    footages: list[Footage],
    chat: Chat,
    pack: PromptPack,
    settings: Settings,
    options: argparse.Namespace,
    account: Account,
    price: Price,
) -> list[dict[str, Any]]:
    folder = options.output.parent

    def video_name(footage: Footage) -> str:
        return path_for(Path(footage.path), folder)

    with (
        Pictures(footages, min(options.workers, options.parallel), options.time_limit) as pictures,
        tqdm(desc=CALLER.doing, total=len(footages), unit=CALLER.unit, disable=None) as bar,
    ):

        def replied() -> None:
            bar.set_postfix_str(format_spent(chat.cache.spent, price))

        return draft_videos(footages, chat, pictures, pack, settings, video_name, account, replied, bar.update)


def _reading(what: str) -> Callable[[Iterable[tuple[int, object]], int], Iterable[tuple[int, object]]]:
    return lambda results, total: tqdm(results, total=total, desc=what, unit="video", disable=None)


def _agreed() -> bool:
    """Asks on a terminal; elsewhere nobody agrees."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input("Send it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
