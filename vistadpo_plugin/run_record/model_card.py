"""The section about the run in the README.md of an output folder, behind what transformers and peft write there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vistadpo_plugin.run_record.report import RESOLVED_RECIPE, RUN_REPORT, RunReport, compared, shown

CARD = "README.md"
_NO_RESULTS = ("step", "epoch", "grad_norm", "learning_rate")
_BEGIN, _END = "<!-- vistadpo: begin -->", "<!-- vistadpo: end -->"


def add_section(report: RunReport) -> None:
    """Put the section into the card in the report's folder, in the place of one that is there."""
    path = report.folder / CARD
    card = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, _, rest = card.partition(_BEGIN)
    after = rest.partition(_END)[2]
    parts = [part.strip("\n") for part in (before, after, f"{_BEGIN}\n{section(report)}\n{_END}") if part.strip()]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8", newline="\n")


def section(report: RunReport) -> str:
    """The section's Markdown."""
    facts = report.facts
    lines = [
        "## Training with VistaDPO",
        "",
        "Hierarchical preference optimization of a video language model (Huang et al., ICML 2025, arXiv 2504.13122), "
        "trained with vistadpo-plugin for LLaMA-Factory.",
        "",
        f"- base model: {facts['model']}",
        *([f"- adapter trained on: {', '.join(facts['adapter'])}"] if facts["adapter"] else []),
        *([f"- reference model: {facts['ref_model']}"] if facts["ref_model"] else []),
        f"- machine: {facts['world_size']} x {facts['device']}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in facts['versions'].items())}",
        "",
        "### Objective and data",
        "",
        *_terms(facts),
        "",
        *_data(facts),
    ]
    if facts["metrics"] is not None:
        lines += ["", "### Results", "", *_results(facts["metrics"])]
    lines += ["", "### Recipe", "", f"Also in `{RESOLVED_RECIPE}`; `{RUN_REPORT}` has all of this for programs."]
    lines += ["", "```yaml", report.recipe.to_yaml().rstrip("\n"), "```"]
    return "\n".join(lines)


def _terms(facts: dict[str, Any]) -> list[str]:
    """A row a term: its weight, and how many rows of each split carry it."""
    names = list(facts["rows"])
    table = [_row("term", "weight", *(f"rows: {name.replace('_', ' ')}" for name in names))]
    table.append("|---" * (2 + len(names)) + "|")
    for term, weight in facts["weights"].items():
        carried = [facts["rows"][name]["terms"].get(term, {"rows": "-"})["rows"] for name in names]
        table.append(_row(term, f"{weight:g}" if weight else "off", *carried))
    return [*table, _row("all", "", *(facts["rows"][name]["rows"] for name in names))]


def _data(facts: dict[str, Any]) -> list[str]:
    lines = []
    for entry in facts["data"]:
        if "sha256" in entry:
            rows = f", {entry['rows']} rows" if "rows" in entry else ""
            lines.append(f"- {entry['dataset']}: `{Path(entry['file']).name}`{rows}, sha256 `{entry['sha256']}`")
        else:
            lines.append(f"- {entry['dataset']}: {entry['name']} ({entry['from']})")
    for name, skipped in facts["skipped"].items():
        lines.append(f"- skipped in {name.replace('_', ' ')}: {skipped['rows']} rows")
    return lines


def _results(metrics: dict[str, Any]) -> list[str]:
    lines = []
    rows = [row for row in compared(metrics) if row[0] not in _NO_RESULTS and not row[0].endswith("_rows")]
    if rows:
        lines += [_row("training log", "first", "last"), "|---" * 3 + "|", *(_row(*row) for row in rows)]
    for title, figures in (("whole run", metrics["train"]), ("evaluation", metrics["eval"])):
        if figures:
            lines += ["", _row(title, ""), "|---|---|"]
            lines += [_row(name, shown(value)) for name, value in figures.items() if not name.endswith("_rows")]
    return lines


def _row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"
