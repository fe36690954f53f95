"""`vistadpo recipes`: what ships, a copy of one to start from, and what a recipe will do before it does it."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from pathlib import Path

import yaml

from vistadpo_plugin.data.rows.dataset_info import DATASET_INFO, read_info, write_info, write_text


def shipped() -> Path:
    """The folder of recipes: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"


def head(recipe: Path) -> list[str]:
    """The comment that a recipe begins with, line by line: what it is, command, hardware, memory and time."""
    lines = recipe.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    return [line.removeprefix("#").removeprefix(" ").rstrip() for line in lines]


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vistadpo recipes", description=__doc__)
    actions = parser.add_subparsers(dest="action")
    actions.add_parser("list", help="what ships (default)")
    copy = actions.add_parser("copy", help="write a recipe, and its entry in dataset_info.json, into a folder of yours")
    copy.add_argument("name")
    copy.add_argument("-o", "--output", type=Path, default=Path("recipes"), help="the folder (default: recipes)")
    copy.add_argument("--overwrite", action="store_true", help="replace a recipe of that name")
    check = actions.add_parser(
        "check",
        help="parse a recipe as the host does, and say what it means, costs and takes; needs no GPU and no model",
        description="Parse a recipe as the host does, and say what its keys mean, what a step costs beside plain DPO, "
        "and what memory it takes. Needs no GPU and no model.",
    )
    check.add_argument("recipe", help="a file, or the name of a recipe that ships")
    check.add_argument("overrides", nargs="*", metavar="key=value", help="changes, as `llamafactory-cli train` takes")
    check.add_argument("--gpus", type=int, help="how many share the work (default: as the recipe's head says, or 1)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """List, copy or check; returns 0, or 2 with a sentence on standard error."""
    options = _parse(argv)
    found = {path.stem: path for path in sorted(shipped().glob("*.yaml"))}
    if options.action not in ("copy", "check"):
        for name, path in found.items():
            title, *rest = head(path)
            print(f"{name}\n  {title}")
            print("".join(f"  {line}\n" for line in rest if line.startswith("  ")))
        print("A copy to change: vistadpo recipes copy NAME")
        print("What one will do: vistadpo recipes check NAME")
        return 0
    try:
        if options.action == "check":
            return _check(found.get(options.recipe, Path(options.recipe)), options.overrides, options.gpus)
        if options.name not in found:
            raise ValueError(f"no recipe {options.name!r}; there are: {', '.join(found)}.")
        return _copy(found[options.name], options.output, options.overwrite)
    except (ValueError, OSError) as error:
        print(f"vistadpo recipes: {error}", file=sys.stderr)
        return 2


def _copy(recipe: Path, folder: Path, overwrite: bool) -> int:
    """The recipe says where it lies: in its command, and as the folder of its data sets' list."""
    target = folder / recipe.name
    if target.exists() and not overwrite:
        raise ValueError(f"{target} is there already; --overwrite replaces it, -o takes another folder.")
    text = recipe.read_text(encoding="utf-8")
    keys = yaml.safe_load(text)
    named = keys.get("training", keys).get("dataset")  # an ablation's training has keys of its own
    known = read_info(recipe.parent)
    entries = {name: known[name] for name in (named or "").replace(" ", "").split(",") if name in known}
    folder.mkdir(parents=True, exist_ok=True)
    if entries:
        write_info(folder, entries)
    where = folder.as_posix()
    write_text(
        target,
        text.replace(f"recipes/{recipe.name}", f"{where}/{recipe.name}").replace(
            "dataset_dir: recipes\n", f"dataset_dir: {where}\n"
        ),
    )
    print(f"Written: {target}")
    for name, entry in entries.items():
        print(f"Data set {name} in {folder / DATASET_INFO}: {folder / entry['file_name']}")
    return 0


def _check(recipe: Path, overrides: list[str], gpus: int | None) -> int:
    """Raises ValueError for a recipe that would not start."""
    if gpus is not None and gpus < 1:
        raise ValueError(f"--gpus {gpus}: has to be 1 or more.")
    if _has(recipe, "training"):
        return _check_ablation(recipe, overrides)
    if _has(recipe, "benchmarks"):
        return _check_evaluation(recipe, overrides)
    # What the host has to say while it parses is not asked for here.
    os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "ERROR")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from vistadpo_plugin.recipe_check.recipe import gpus_of, read_recipe
    from vistadpo_plugin.recipe_check.report import page

    read = read_recipe(recipe, overrides)
    named, gigabytes = gpus_of(head(recipe))
    print(page(read, gpus or named, gigabytes))
    return 0


def _has(recipe: Path, key: str) -> bool:
    """Whether a recipe has a key: `benchmarks` that of `vistadpo evaluate`, `training` that of `vistadpo ablate`.

    What cannot be read is the host's to refuse.
    """
    try:
        content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return False
    return isinstance(content, dict) and key in content


def _check_ablation(recipe: Path, overrides: list[str]) -> int:
    from vistadpo_plugin.ablation.recipe import read_recipe

    if overrides:
        raise ValueError(f"{recipe} is an ablation's recipe, which takes no key=value.")
    read = read_recipe(recipe, demo_base=lambda: Path("the demo's base"))
    runs = len(read.bases) * len(read.ladder.rungs) * len(read.seeds) * len(read.choices)
    print(f"{recipe}: `vistadpo ablate` takes it.\n")
    for title, names in (
        ("bases", read.bases),
        ("rungs", [rung.name for rung in read.ladder.rungs]),
        ("seeds", map(str, read.seeds)),
        ("compared", [f"{later} - {earlier}" for later, earlier in read.ladder.compared]),
        ("test", [*read.test.benchmarks, *(["probe"] if read.test.probe else [])]),
    ):
        print(textwrap.fill(", ".join(names), 120, initial_indent=f"{title:<12}", subsequent_indent=" " * 12))
    print(f"{'primary':<12}{read.primary}")
    print(f"{'runs':<12}{runs}")
    return 0


def _check_evaluation(recipe: Path, overrides: list[str]) -> int:
    from vistadpo_plugin.evaluation.recipe import read_recipe

    if overrides:
        raise ValueError(f"{recipe} is an evaluation recipe, which takes no key=value.")
    read = read_recipe(recipe)
    print(f"{recipe}: `vistadpo evaluate` takes it.\n")
    print(f"models      {', '.join(read.models)}")
    print(f"benchmarks  {', '.join(read.benchmarks)}")
    return 0
