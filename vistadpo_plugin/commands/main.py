"""The `vistadpo` command: `vistadpo SUBCOMMAND ...`, one module a subcommand."""

from __future__ import annotations

import importlib
import sys

from vistadpo_plugin import __version__
from vistadpo_plugin.commands.pipe import outlive_readers

SUBCOMMANDS = {
    "demo": "train a tiny model that hallucinates, and see what it answers before and after",
    "validate": "read every row and its video, and say precisely what is wrong with them",
    "preview": "a page to look at rows as training sees them: views, time line, box and mask",
    "build": "grounded rows from public annotations (NExT-GQA, STAR, TVQA+, Charades-STA, ...), with a data card",
    "annotate": "drafts of rows by a vision-language model; to a labelling tool and back",
    "convert": "rows to and from VistaDPO-7k's layout and the host's; PLLaVA's and LLaVA-Hound's checkpoints",
    "rows": "stats, split, merge, sample, filter: the daily work with rows that are there",
    "recipes": "list the recipes that ship, copy one, or check one: what it means, costs and needs",
    "evaluate": "benchmark tables of your models, base against tuned; or a probe of how much they look",
    "ablate": "a ladder of objectives over seeds from the same base and rows, and what each rung is worth",
    "bench": "measure a training step beside the host's plain DPO step",
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    if argv is None:
        outlive_readers()
        argv = sys.argv[1:]
    if argv[:1] in (["--version"], ["-V"]):
        print(f"vistadpo-plugin {__version__}")
        return 0
    if argv and argv[0] in SUBCOMMANDS:
        return importlib.import_module(f"vistadpo_plugin.commands.{argv[0]}").main(argv[1:])
    wanted_help = not argv or argv[0] in ("-h", "--help")
    if not wanted_help:
        print(f"vistadpo: unknown command {argv[0]!r}", file=sys.stderr)
    print("usage: vistadpo COMMAND [options]\n       vistadpo --version\n\ncommands:")
    for name, summary in SUBCOMMANDS.items():
        print(f"  {name:<10} {summary}")
    print("\nTraining itself is `llamafactory-cli train RECIPE.yaml` with `stage: vistadpo` in the recipe.")
    return 0 if wanted_help else 2
