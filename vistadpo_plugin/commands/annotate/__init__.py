"""`vistadpo annotate`: drafts of rows by a vision-language model, and their way through a labelling tool and back.

`vistadpo annotate VIDEOS ...` drafts, `vistadpo annotate export ...` and `vistadpo annotate import ...` are the way.
"""

from __future__ import annotations

import importlib
import sys

WAYS = {"export": "export", "import": "import_rows"}
"""First word -> the module here that has the command; anything else is for `draft`."""


def main(argv: list[str] | None = None) -> int:
    """Run one of the three and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    name = WAYS.get(argv[0]) if argv else None
    module = importlib.import_module(f"{__name__}.{name or 'draft'}")
    return module.main(argv[1:] if name else argv)
