"""`vistadpo convert llava-hound|pllava`: a checkpoint in its authors' layout, made into one that transformers loads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

KINDS = ("llava-hound", "pllava")
_INFERRED = (
    "The layout is inferred from the authors' code: real files were not at hand, and the tests convert checkpoints "
    "built in that layout. Every weight finds its place or is named: what is missing, left over or of another shape is "
    "an error, and nothing is written."
)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo convert", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    hound = kinds.add_parser(
        "llava-hound",
        help="LLaVA-Hound or Video-LLaVA as released by their authors, to transformers' Video-LLaVA",
        description="LLaVA-Hound or Video-LLaVA as released by their authors, to transformers' Video-LLaVA, which has "
        f"no temporal attention: the result is a model of its own. {_INFERRED}",
    )
    both = "where INPUT has no towers: take both from this Video-LLaVA of transformers"
    hound.add_argument("--towers-from", type=Path, metavar="FOLDER", help=both)
    for kind in ("video", "image"):
        text = f"where INPUT has no {kind} tower: LanguageBind's checkpoint of it"
        hound.add_argument(f"--{kind}-tower", type=Path, metavar="FOLDER", help=text)
    hound.add_argument(
        "--vision-config",
        type=Path,
        metavar="FOLDER",
        help="folder whose config.json describes the towers (default: that of the towers' own folders, else that of "
        "transformers' Video-LLaVA: CLIP ViT-L/14 at 224 px with quick_gelu)",
    )
    merged = "PLLaVA as released by its authors, LoRA beside its base weights, to one merged model"
    pllava = kinds.add_parser("pllava", help=merged, description=f"{merged}. {_INFERRED}")
    pllava.add_argument(
        "--alpha",
        type=float,
        default=4.0,
        help="W + (alpha / rank) B A is what is merged. The authors train with 32, and run demo and benchmarks with 4; "
        "the default is 4, so that training starts from the model of their evaluation (32: the model as trained)",
    )
    pllava.add_argument(
        "--pooling-shape",
        type=int,
        nargs=3,
        default=[16, 12, 12],
        metavar=("FRAMES", "HEIGHT", "WIDTH"),
        help="tokens of a video; the authors give it when they load the model, so their config.json is not asked "
        "(default: 16 12 12)",
    )
    for kind in (hound, pllava):
        kind.add_argument("input", type=Path, help="the checkpoint's folder: config.json, tokenizer and weights")
        kind.add_argument("-o", "--output", type=Path, required=True, help="the folder to make")
        kind.add_argument(
            "--file-size", default="5GB", help="weights a file, and about the memory it takes (default: 5GB)"
        )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Convert a checkpoint; returns 0, or 2 with a sentence on standard error."""
    options = _parse(argv)
    try:
        _convert(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo convert {options.kind}: {error}", file=sys.stderr)
        return 2
    return 0


def _convert(options: argparse.Namespace) -> None:
    from vistadpo_plugin.checkpoints import llava_hound, pllava
    from vistadpo_plugin.checkpoints.languagebind import TowerSources
    from vistadpo_plugin.checkpoints.output import check_output, write_checkpoint

    check_output(options.output)
    if options.kind == "pllava":
        converted = pllava.convert(options.input, options.alpha, options.pooling_shape)
    else:
        sources = TowerSources(options.towers_from, options.video_tower, options.image_tower, options.vision_config)
        converted = llava_hound.convert(options.input, sources)
    files = write_checkpoint(converted, options.output, options.file_size)
    for note in converted.notes:
        print(note)
    for reason, number in sorted(converted.dropped.items()):
        print(f"left out: {number} weights {reason}")
    print(f"{len(converted.weights)} weights in {files} file{'s' if files > 1 else ''} in {options.output}")
    print(f"In a recipe:\n  model_name_or_path: {options.output}\n  template: {converted.config.model_type}")
