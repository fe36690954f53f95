"""The kinds of findings: documented, and known wherever the code names one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vistadpo_plugin
from vistadpo_plugin.validation.judge import NOTE_KINDS, REASON_KINDS
from vistadpo_plugin.validation.kinds import KINDS, SEVERITIES, Finding

PACKAGE = Path(vistadpo_plugin.__file__).parent
ROWS = PACKAGE / "data" / "rows"
DOCS = PACKAGE.parent / "docs" / "data.md"


def table() -> dict[str, tuple[str, ...]]:
    """The error table of docs/data.md: name -> the other cells."""
    rows = [line.strip("|").split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0].strip("`"): tuple(row[1:]) for row in cells if row[1] in SEVERITIES}


@pytest.mark.skipif(not DOCS.is_file(), reason="the documentation is not here")
def test_the_table_of_the_documentation_is_the_one_in_the_code() -> None:
    assert table() == {name: (kind.severity, kind.title, kind.remedy) for name, kind in KINDS.items()}


def raised_kinds(file: Path) -> list[str | None]:
    """The last argument of every RowError that a file raises."""
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    raised = [call.args for call in calls if isinstance(call.func, ast.Name) and call.func.id == "RowError"]
    return [args[2].value if len(args) == 3 and isinstance(args[2], ast.Constant) else None for args in raised]


@pytest.mark.parametrize("module", ["schema", "values", "grounding"])
def test_every_refusal_of_a_row_has_a_kind(module: str) -> None:
    kinds = raised_kinds(ROWS / f"{module}.py")
    assert len(kinds) > 4 and set(kinds) <= set(KINDS)
    assert {KINDS[kind].severity for kind in kinds if kind} == {"error"}


def named_kinds() -> set[str]:
    """Every text in the package's code, outside the catalogue itself, that is the name of a kind."""
    files = [
        *(PACKAGE / "validation").glob("*.py"),
        *(ROWS / f"{name}.py" for name in ("schema", "values", "grounding")),
    ]
    nodes = [node for file in files if file.name != "kinds.py" for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    return {node.value for node in nodes if isinstance(node, ast.Constant)} & set(KINDS)


def test_no_kind_is_dead() -> None:
    assert named_kinds() == set(KINDS)


def test_every_note_that_training_writes_has_a_kind_of_its_own() -> None:
    """The notes are the sentences in capitals of these modules; absent groundings are only counted."""
    from vistadpo_plugin.data.rows import grounding, schema, values

    counted = {grounding.NO_EVENT, grounding.NO_KEYFRAME, grounding.NO_BOX, grounding.NO_BOX_LEFT, schema.IGNORED_FIELD}
    sentences = {
        value
        for module in (schema, values, grounding)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and " " in value
    }
    assert sentences - counted == set(NOTE_KINDS) | set(REASON_KINDS)


@pytest.mark.parametrize(
    ("place", "line"), [("rows.jsonl:12", 12), ("rows.json[3]", None), ("rows.jsonl", None), ("a:b.jsonl:7", 7)]
)
def test_the_line_of_a_finding(place: str, line: int | None) -> None:
    assert Finding("bad-json", place, None, "m").line == line


def test_a_finding_names_its_row_as_training_does() -> None:
    assert Finding("bad-json", "rows.jsonl:12", "q7", "m").where == "rows.jsonl:12 (id q7)"
    assert Finding("bad-json", "rows.jsonl:12", None, "m").where == "rows.jsonl:12"
