"""docs/models.md says of every family what its file says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vistadpo_plugin.models import families
from vistadpo_plugin.models.family import Family

ROOT = Path(__file__).resolve().parents[1]


def table(text: str, first_heading: str) -> list[list[str]]:
    """The cells of the rows of the table whose first column has this heading."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {first_heading} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_the_table_has_the_facts_of_a_family(family: Family) -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    (row,) = [row for row in table(text, "family") if row[0] == family.name]
    recipe = yaml.safe_load((ROOT / "recipes" / f"{family.recipe}.yaml").read_text())
    _, template, name, frames, tokens, _ = row
    assert template == f"`{family.templates[0]}`"
    assert name == f"[{family.recipe}](../recipes/{family.recipe}.yaml)"
    assert frames == f"{'' if family.exact_frames else 'up to '}{recipe['video_maxlen']}"
    assert tokens == f"{family.tokens_a_frame}"
    if family.differs:
        assert family.differs in " ".join(text.split())


def test_the_table_has_no_other_family() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    assert [row[0] for row in table(text, "family")] == [family.name for family in families()]
