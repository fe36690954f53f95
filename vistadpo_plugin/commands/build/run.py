"""A run of `vistadpo build`: questions read, rows checked, drawn and written, and what is printed of it."""

from __future__ import annotations

import argparse

from vistadpo_plugin.commands.build.output import Output, nothing_left
from vistadpo_plugin.commands.build.sources import SOURCES
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.card import format_card
from vistadpo_plugin.datasets.polish import polish
from vistadpo_plugin.datasets.rewrite import Pace, ReplyCache, Rewriter, open_client
from vistadpo_plugin.datasets.rows import Splits, draft_rows, split_rows
from vistadpo_plugin.datasets.source import Coverage
from vistadpo_plugin.datasets.videos import VideoIndex


def build(options: argparse.Namespace) -> int:
    """The whole run; returns 0. Raises ValueError or OSError with what is to be said."""
    output = Output(options.output, options.name, options.val_share, options.overwrite)
    rewriter = _rewriter(options) if options.rewrite else None
    chosen = SOURCES[options.source]
    account = Account(chosen.noun)
    videos = VideoIndex(options.videos, chosen.frames_per_second)
    source, questions = chosen.read(options, videos, account)
    coverage = Coverage.of(source, account.noun, questions, videos)
    # Said even where no row is left: then it matters most.
    output.list_missing([coverage])
    drafts = draft_rows(questions, videos, output.folder, options.allow_missing_videos, options.seed, account)
    splits = split_rows(drafts, options.val_share, options.seed, account) if drafts else Splits([])
    account.written = sum(map(len, splits.named().values()))
    account.check()
    if not account.written:
        print(account.format())
        print(coverage.sentence())
        raise nothing_left([coverage], options.allow_missing_videos)
    if rewriter is not None:
        splits = polish(splits, rewriter, account)

    named = splits.named()
    videos_of = {split: {draft.question.video for draft in members} for split, members in named.items()}
    for stem in sorted(videos.doubles):
        if any(stem in written for written in videos_of.values()):
            account.note("a video found more than once, the first is taken", stem, ", ".join(videos.doubles[stem]))
    model = options.model if options.rewrite else None
    card = format_card(
        output.name, source, coverage, splits, output.files, account, options.command, options.seed, model
    )
    output.write({split: [draft.row() for draft in members] for split, members in named.items()}, card, account)
    counts = {split: (len(members), len(videos_of[split])) for split, members in named.items()}
    output.say(account, [coverage], counts, chosen.frames_per_second)
    return 0


def _rewriter(options: argparse.Namespace) -> Rewriter:
    cache = ReplyCache(options.cache or options.output.with_suffix(".rewrites.jsonl"), options.model)
    client = open_client(options.base_url)
    return Rewriter(client, options.model, cache, Pace(options.requests_per_minute), options.parallel)
