"""`vistadpo evaluate`: benchmark tables of one or more models, with the host's own inference and the official rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vistadpo_plugin.commands.pipe import outlive_readers

if TYPE_CHECKING:
    from vistadpo_plugin.evaluation.recipe import Recipe

STAGES = {
    "export": "write the questions of every benchmark",
    "infer": "ask every model what it has not answered yet",
    "score": "make the report from the replies",
}
PROBE, LMMS_TASKS = "probe", "lmms-tasks"


def _parse(argv: list[str]) -> argparse.Namespace:
    stages = "\n".join(f"  {name:<8}{summary}" for name, summary in STAGES.items())
    parser = argparse.ArgumentParser(
        prog="vistadpo evaluate",
        usage="%(prog)s [STAGE] RECIPE [--allow-partial]",
        description=f"{__doc__}\n\nAll stages, one after the other, or one of them:\n{stages}\n\n"
        "`vistadpo evaluate probe -h`: log-probabilities on grounded rows, without benchmarks.\n"
        "`vistadpo evaluate lmms-tasks`: the folder of our tasks for lmms-eval's --include_path.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="[STAGE] RECIPE", help="an evaluation recipe (YAML)")
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="go without missing videos and replies, and say so beside every figure",
    )
    options = parser.parse_intermixed_args(argv)
    *stage, recipe = options.words
    if len(stage) > 1 or (stage and stage[0] not in STAGES):
        parser.error(f"expected one of {', '.join(STAGES)} and a recipe, got {' '.join(options.words)}")
    options.stages, options.recipe = stage or list(STAGES), Path(recipe)
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the stages; returns 0, 2 for wrong arguments or a wrong recipe, 1 for a run that failed."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == [PROBE]:
        from vistadpo_plugin.commands import probe

        return probe.main(argv[1:])
    if argv == [LMMS_TASKS]:
        from vistadpo_plugin.evaluation.lmms_eval import TASKS

        print(TASKS)
        return 0
    options = _parse(argv)
    from vistadpo_plugin.evaluation.recipe import RecipeError, read_recipe

    try:
        _evaluate(options, read_recipe(options.recipe))
    except RecipeError as error:
        print(f"vistadpo evaluate: {options.recipe}: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"vistadpo evaluate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nvistadpo evaluate: interrupted; replies are kept, the same command goes on.", file=sys.stderr)
        return 130
    return 0


def _evaluate(options: argparse.Namespace, recipe: Recipe) -> None:
    from vistadpo_plugin.evaluation.run import check_judge, export, score

    if "score" in options.stages:
        check_judge(recipe)
    exported = export(recipe)
    if options.stages == ["export"]:
        for name, questions in exported.items():
            print(f"{name}: {len(questions)} questions in {recipe.output_dir / name}")
    if "infer" in options.stages:
        from vistadpo_plugin.evaluation.ask import infer

        infer(recipe, exported, options.allow_partial)
    if "score" in options.stages:
        from vistadpo_plugin.evaluation.report import JSON_REPORT, MARKDOWN_REPORT, write_report

        print(write_report(recipe.output_dir, score(recipe, exported, options.allow_partial)))
        print(f"report: {recipe.output_dir / MARKDOWN_REPORT}, {recipe.output_dir / JSON_REPORT}")


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
