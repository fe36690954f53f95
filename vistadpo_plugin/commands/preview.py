"""`vistadpo preview`: rows as training sees them, on one HTML page: six views, time line, box, mask and answers."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.commands.pipe import outlive_readers
from vistadpo_plugin.preview.candidates import choose, find, read_candidates
from vistadpo_plugin.preview.cards import make_cards, summarize
from vistadpo_plugin.preview.page import render_page
from vistadpo_plugin.preview.settings import PICTURE_KEYS, make_settings, read_recipe

PAGE = "preview.html"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo preview", description=__doc__)
    parser.add_argument(
        "data", nargs="?", metavar="DATA", help="rows, a .jsonl or .json file (default: what the recipe trains on)"
    )
    parser.add_argument("--recipe", help="take the choices below, data set and media folder from this recipe")
    rows = parser.add_argument_group("which rows")
    rows.add_argument("--rows", type=int, default=12, help="rows to draw at random, by --seed (default: 12)")
    rows.add_argument("--ids", nargs="+", metavar="ID", help="these rows instead, by id or by place (rows.jsonl:7)")
    rows.add_argument("--seed", type=int, help="draws rows, mates, noise and shuffles (default: 42, or the recipe's)")
    out = parser.add_argument_group("what to write")
    out.add_argument("-o", "--output", metavar="FILE", help=f"the page (default: {PAGE}, or none with --png)")
    out.add_argument("--png", metavar="FILE", help="one row as a picture")
    out.add_argument("--row", metavar="ID", help="the row of the picture, by id or place (default: the first row)")
    out.add_argument(
        "--crop",
        action=argparse.BooleanOptionalAction,
        help="dim what a centre crop hides from the model (default: for the families that crop)",
    )
    keys = parser.add_argument_group("keys of a recipe (default: the recipe's; without one, Video-LLaVA with 8 frames)")
    keys.add_argument("--media-dir", metavar="FOLDER", help="folder of the media (default: of DATA)")
    keys.add_argument("--template", help="the model's family (default: video_llava)")
    keys.add_argument("--video-maxlen", type=int, metavar="N", help="frames of the full view")
    keys.add_argument("--video-fps", type=float, metavar="N", help="frames a second, for most families")
    hints = get_type_hints(VistaArguments)
    for item in fields(VistaArguments):
        if item.name in PICTURE_KEYS:
            choices = [choice for choice in get_args(hints[item.name]) if isinstance(choice, str)]
            kind = {"choices": choices} if choices else {"type": int, "metavar": "N"}
            keys.add_argument("--" + item.name.replace("_", "-"), help=item.metadata["help"], **kind)
    options = parser.parse_args(argv)
    if options.data is None and options.recipe is None:
        parser.error("name a file of rows, or a recipe with --recipe")
    if options.rows < 1:
        parser.error(f"--rows has to be 1 or more, got {options.rows}")
    if options.row is not None and options.png is None:
        parser.error("--row names the row of a picture: give --png FILE too")
    return options


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """The keys of a recipe that were given as options."""
    keys = ("media_dir", "template", "video_maxlen", "video_fps", "seed", *PICTURE_KEYS)
    changes = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    if "seed" in changes:
        changes["data_seed"] = None  # one seed for everything that is drawn
    return changes


def _write(path: str, content: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}.") from None
    print(f"{path}: {len(content) / 1e6:.1f} MB")


def main(argv: list[str] | None = None) -> int:
    """Write the page, the picture, or both; returns the exit code: 0, or 2 for what cannot be read or written."""
    options = _parse(argv)
    try:
        recipe = None if options.recipe is None else read_recipe(options.recipe)
        settings = make_settings(recipe, _changes(options), options.data, options.crop)
        candidates = read_candidates(settings)
        on_page = find(candidates, options.ids) if options.ids else choose(candidates, options.rows, settings.seed)
        in_picture = find(candidates, [options.row])[:1] if options.row else [0]
        if options.png is not None:
            from vistadpo_plugin.preview.sheet import draw_sheet

            cards = make_cards(candidates, in_picture, settings)
            _write(options.png, draw_sheet(cards[0], settings))
        if options.output is not None or options.png is None:
            cards = make_cards(candidates, on_page, settings)
            _write(options.output or PAGE, render_page(cards, settings, len(candidates)).encode("utf-8"))
    except ValueError as error:
        print(f"vistadpo preview: {error}", file=sys.stderr)
        return 2
    print(summarize(cards, len(candidates), settings))
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
