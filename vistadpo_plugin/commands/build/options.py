"""The command line of `vistadpo build`: what all sources share, and a parser for each."""

from __future__ import annotations

import argparse
from pathlib import Path

from vistadpo_plugin.commands.build import preferences
from vistadpo_plugin.commands.build.numbers import count, rate, share
from vistadpo_plugin.commands.build.run import build
from vistadpo_plugin.commands.build.sources import SOURCES


def parse_options(argv: list[str] | None, description: str) -> argparse.Namespace:
    """The options; `source` is a name of SOURCES or `preferences`, `run` what builds from it."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--videos", type=Path, required=True, help="folder with the videos, sub-folders included")
    common.add_argument("-o", "--output", type=Path, required=True, help="the data file to write, DATA.jsonl")
    common.add_argument("--name", help="the data set's name in dataset_info.json (default: DATA)")
    common.add_argument("--seed", type=int, default=0, help="decides wrong and irrelevant answers and the split")
    common.add_argument(
        "--val-share", type=share, default=0.0, help="share of the videos held out, into DATA_val.jsonl (default: 0)"
    )
    common.add_argument(
        "--allow-missing-videos", action="store_true", help="write rows whose videos are not in the folder yet"
    )
    common.add_argument("--overwrite", action="store_true", help="replace DATA.jsonl when it is there")
    rewritten = argparse.ArgumentParser(add_help=False)
    rewriting = rewritten.add_argument_group("rewriting the answers with a language model (off by default)")
    rewriting.add_argument(
        "--rewrite", action="store_true", help="make options sentences through an OpenAI-compatible endpoint"
    )
    rewriting.add_argument("--model", help="the model to ask")
    rewriting.add_argument("--base-url", help="the endpoint (default: OpenAI's); the key is read from OPENAI_API_KEY")
    rewriting.add_argument(
        "--requests-per-minute", type=rate, default=300.0, help="how fast to ask at most (default: 300)"
    )
    rewriting.add_argument("--parallel", type=count, default=4, help="requests under way at a time (default: 4)")
    rewriting.add_argument("--cache", type=Path, help="where replies are kept (default: DATA.rewrites.jsonl)")

    parser = argparse.ArgumentParser(prog="vistadpo build", description=description)
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name, source in SOURCES.items():
        questions = sources.add_parser(name, parents=[common, rewritten], help=source.help)
        source.add_arguments(questions)
        questions.set_defaults(run=build)
    pairs = sources.add_parser("preferences", parents=[common], help=preferences.HELP)
    preferences.add_arguments(pairs)
    pairs.set_defaults(run=preferences.build)
    options = parser.parse_args(argv)
    if options.run is build and options.rewrite and not options.model:
        parser.error("--rewrite needs --model")
    return options
