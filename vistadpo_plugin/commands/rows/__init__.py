"""`vistadpo rows`: the daily work with rows that are there already."""

from __future__ import annotations

import importlib
import sys

VERBS = {
    "stats": "a table and a picture: videos, events, boxes, answers and kinds of negatives, source by source",
    "split": "training, validation and test rows by whole recordings, kinds and sources in like shares",
    "merge": "several files as one, with duplicates named and paths that hold from the new file's folder",
    "sample": "some rows, or all rows of some videos, drawn by seed",
    "filter": "the rows that an expression over their fields is true of",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns 0, or 2 with a sentence on standard error."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in VERBS:
        verb = importlib.import_module(f"vistadpo_plugin.commands.rows.{argv[0]}")
        try:
            return verb.main(argv[1:])
        except (ValueError, OSError) as error:
            print(f"vistadpo rows {argv[0]}: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"\nvistadpo rows {argv[0]}: interrupted.", file=sys.stderr)
            return 130
    wanted_help = not argv or argv[0] in ("-h", "--help")
    if not wanted_help:
        print(f"vistadpo rows: unknown verb {argv[0]!r}", file=sys.stderr)
    print("usage: vistadpo rows VERB [options]\n\nverbs:")
    for name, summary in VERBS.items():
        print(f"  {name:<8} {summary}")
    print("\nEach reads rows as `vistadpo validate` does; `vistadpo rows VERB -h` says more.")
    return 0 if wanted_help else 2
