"""`vistadpo build`: rows for `stage: vistadpo` from public annotations or pairs, with every question accounted for.

In: options of the command line (`options`), annotations and videos. Out: rows, card, report and dataset_info.json, all
written by `output`. `run` builds grounded rows from a source of questions, a module of `sources`; `preferences` plain
rows from pairs. May import datasets and what lies below.
"""

from __future__ import annotations

import shlex
import sys

from vistadpo_plugin.commands.build.options import parse_options


def main(argv: list[str] | None = None) -> int:
    """Build a data set; returns 0, or 2 with a sentence on standard error."""
    argv = sys.argv[1:] if argv is None else argv
    options = parse_options(argv, __doc__.splitlines()[0])
    options.command = shlex.join(["vistadpo", "build", *argv])
    try:
        return options.run(options)
    except (ValueError, OSError) as error:
        print(f"vistadpo build: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nvistadpo build: interrupted; nothing was written but replies, the same command goes on.", file=sys.stderr
        )
        return 130
