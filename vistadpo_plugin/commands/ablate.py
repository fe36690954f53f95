"""`vistadpo ablate`: a ladder of objectives from one base on the same rows, over seeds, and what each rung is worth."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vistadpo_plugin import __version__

if TYPE_CHECKING:
    from vistadpo_plugin.ablation.recipe import Demo

_EPILOG = """\
Every run is an ordinary recipe of the host in a folder of its own, OUTPUT/runs/BASE/RUNG/seed_N. What is finished is
recognised by its own record and not done again, so the same command goes on after an interruption. A run that fails is
named, and the others go on; the next time it is tried again. Written to OUTPUT: report.md, forest.png, ablation.json.
Exit status: 0; 1 where a run failed; 2 for what cannot be read or used; 130 when interrupted.
"""


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vistadpo ablate",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="an ablation recipe (YAML)")
    parser.add_argument("--quick", action="store_true", help="with the recipe's `quick:` keys, in OUTPUT_quick")
    return parser.parse_args(argv)


def _demo_base() -> Path:
    """The demo's base, which ships with the package."""
    from vistadpo_plugin.demo.base_build import base_folder

    return base_folder()


def _make_demo(demo: Demo) -> None:
    """Videos, rows and questions of the demo's world, unless the same are there: caches know files by their times."""
    from vistadpo_plugin.data.rows.dataset_info import write_info, write_text
    from vistadpo_plugin.demo.splits import TRAIN, WORLD, write_split

    made = demo.folder / "made.json"
    wanted = json.dumps(
        {"videos": demo.videos, "variants": demo.variants, "kinds": demo.kinds, "world": WORLD, "version": __version__}
    )
    if made.is_file() and made.read_text(encoding="utf-8") == wanted:
        return
    made.unlink(missing_ok=True)
    print(f"Making the demo's world in {demo.folder}: {demo.videos} videos ...", flush=True)
    for split, videos in demo.videos.items():
        variants = demo.variants if split == TRAIN else ()
        write_split(demo.folder, split, videos, variants=variants, kinds=demo.kinds)
    names = [*demo.videos, *(f"{TRAIN}_{variant}" for variant in demo.variants)]
    write_info(demo.folder, {name: {"file_name": f"{name}.jsonl", "formatting": "vistadpo"} for name in names})
    write_text(made, wanted)


def main(argv: list[str] | None = None) -> int:
    """Run the ablation and write its reports; returns the exit code."""
    options = _parse(argv)
    import yaml

    from vistadpo_plugin.ablation.recipe import read_recipe
    from vistadpo_plugin.ablation.results.plot import PLOT, plot_forest
    from vistadpo_plugin.ablation.results.report import JSON_REPORT, MARKDOWN_REPORT, write_reports
    from vistadpo_plugin.ablation.run import run_ablation

    command = f"vistadpo ablate {options.recipe}{' --quick' if options.quick else ''}"
    try:
        ablation = read_recipe(options.recipe, options.quick, _demo_base)
        if ablation.demo is not None:
            _make_demo(ablation.demo)
        outcome = run_ablation(ablation, say=lambda text: print(text, flush=True))
        written = yaml.safe_load(options.recipe.read_text(encoding="utf-8"))
        text = write_reports(outcome, command, written)
        plot_forest(outcome, ablation.output_dir / PLOT)
    except (ValueError, OSError) as error:
        print(f"vistadpo ablate: {options.recipe}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nvistadpo ablate: interrupted; finished runs are kept, the same command goes on.", file=sys.stderr)
        return 130
    print(f"\n{text}")
    print(f"Written: {', '.join(str(ablation.output_dir / name) for name in (MARKDOWN_REPORT, PLOT, JSON_REPORT))}")
    if outcome.problems:
        print(f"{len(outcome.problems)} trials failed; see FAILED above and {ablation.output_dir / 'logs'}.")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
