"""docs/reliability.md: every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_test_that_is_named_is_there() -> None:
    """`file::test`, `...::test` for another of the file named before, or a file; and every fault test is named."""
    named, path = set(), ""
    for file, name in re.findall(r"`((?:[\w/]+\.py)|…)(?:::(\w+))?`", (ROOT / "docs" / "reliability.md").read_text()):
        path = path if file == "…" else file
        text = (ROOT / path).read_text()
        assert not name or f"def {name}(" in text, f"{path}::{name}"
        named.add((path, name))
    assert len(named) > 40
    for file in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)", file.read_text(), flags=re.MULTILINE):
            assert (f"tests/faults/{file.name}", name) in named, f"{name} is not in the table"
