"""The report of an ablation: ablation.json for programs, report.md for people."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vistadpo_plugin.ablation.ladder import BASE
from vistadpo_plugin.ablation.plan import REFERENCE, Run
from vistadpo_plugin.ablation.results.figures import CHOSEN, PROBE
from vistadpo_plugin.ablation.results.statistics import Estimate, Quotient
from vistadpo_plugin.ablation.results.summary import Line, figure_names, lines_of
from vistadpo_plugin.ablation.run import DEV, TEST, Outcome
from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.run_record.provenance import versions

JSON_REPORT, MARKDOWN_REPORT = "ablation.json", "report.md"

_SHOWN = ("rank", "total/overall", "total/basic", "total/hallucination", "exact", "overall", "average", "yes rate")
"""Figures of a benchmark that the tables show; ablation.json has all."""

HOW = (
    "Means over seeds with 95 % intervals: a bootstrap that draws questions (pairs where a benchmark has them, rows of "
    "a probe) and seeds. Differences are paired: the same questions and the same seeds on both sides; `seeds above 0` "
    "are those in which a difference is. Intervals over few seeds are rough; with one seed they are over questions "
    "alone."
)


def write_reports(outcome: Outcome, command: str, recipe: dict[str, Any]) -> str:
    """Write both into the output folder; returns the Markdown. `recipe`: the keys as they were written."""
    folder = outcome.ablation.output_dir
    lines = {split: lines_of(outcome, split) for split in (DEV, TEST) if outcome.figures[split]}
    text = "\n".join(_markdown(outcome, lines, command)) + "\n"
    content = _facts(outcome, lines, command, recipe)
    write_text(folder / JSON_REPORT, json.dumps(_finite(content), indent=1, ensure_ascii=False, default=str) + "\n")
    write_text(folder / MARKDOWN_REPORT, text)
    return text


def _facts(outcome: Outcome, lines: dict[str, list[Line]], command: str, recipe: dict[str, Any]) -> dict[str, Any]:
    ablation = outcome.ablation
    return {
        "command": command,
        "recipe": recipe,
        "versions": versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "primary": ablation.primary,
        "bootstrap": {"replicates": ablation.bootstrap, "how": HOW},
        "same compute": {f"{base}.{rung}": found for (base, rung), found in outcome.compute.items()},
        "reference": reference_counts(outcome),
        "chosen": {f"{base}.{rung}": ablation.choices[number] for (base, rung), number in outcome.chosen.items()},
        "results": {
            split: [
                {
                    "base": line.base,
                    "rung": line.rung,
                    **({} if line.against is None else {"against": line.against}),
                    "figures": {name: asdict(one) for name, one in line.figures.items()},
                    **({"times": {name: asdict(one) for name, one in line.times.items()}} if line.times else {}),
                }
                for line in found
            ]
            for split, found in lines.items()
        },
        "bases": {base: _measured(outcome, f"{base}.{BASE}") for base in ablation.bases},
        "trials": [_trial(outcome, run) for run in outcome.runs],
    }


def _trial(outcome: Outcome, run: Run) -> dict[str, Any]:
    """Everything about a run, also one that lost or failed."""
    return {
        **outcome.records[run.name].content,
        "base": run.base,
        "rung": run.rung.name,
        "seed": run.seed,
        "choice": outcome.ablation.choices[run.choice],
        "chosen": outcome.is_chosen(run),
        **_measured(outcome, run.name),
    }


def _measured(outcome: Outcome, name: str) -> dict[str, Any]:
    return {
        "figures": {
            split: {figure: one.value for figure, one in figures[name].items()}
            for split, figures in outcome.figures.items()
            if name in figures
        },
        "problems": {where: message for (model, where), message in outcome.problems.items() if model == name},
    }


def reference_counts(outcome: Outcome) -> dict[str, dict[str, int]]:
    """By cache folder: the runs that it served, and the answers that the reference scored in all of them."""
    found: dict[str, dict[str, int]] = {}
    for run in outcome.runs:
        folder = run.keys.get("vista_reference_cache")
        content = outcome.records[run.name].content
        if folder is None or not outcome.records[run.name].finished:
            continue
        counts = found.setdefault(f"{REFERENCE}/{Path(folder).name}", {"runs": 0, "answers scored": 0})
        counts["runs"] += 1
        counts["answers scored"] += content["reference_answers"]
    return found


def _markdown(outcome: Outcome, lines: dict[str, list[Line]], command: str) -> Iterator[str]:
    ablation = outcome.ablation
    yield "# Ablation"
    yield ""
    yield f"`{command}`; seeds {', '.join(map(str, ablation.seeds))}; primary figure {ablation.primary}."
    for split in (TEST, DEV):
        names = [name for name in figure_names(outcome, split) if _is_shown(name, ablation.primary)]
        for base in dict.fromkeys(line.base for line in lines.get(split, [])):
            mine = [line for line in lines[split] if line.base == base]
            yield f"\n## {split}: {base}\n"
            yield from _table(["rung", "seeds", *names], [_row(line, names) for line in mine if line.against is None])
            yield "\nDifferences, each over the seeds that both have:\n"
            compared = [line for line in mine if line.against is not None]
            primary = ablation.primary if ablation.primary in names else names[0]
            yield from _table(
                ["difference", f"seeds above 0, {primary}", *names], [_row(line, names, primary) for line in compared]
            )
            yield from _multiples(compared)
            yield from _displaced(mine)
    yield f"\n{HOW}\n"
    yield "## How it was made\n"
    for (base, rung), counted in outcome.compute.items():
        yield (
            f"- {base}.{rung} takes {counted['times the steps']:.2f} times the steps, so that it does the work of "
            f"{ablation.rung(rung).same_compute_as} (matrix products of the decoder for a row with every grounding)."
        )
    for folder, counts in reference_counts(outcome).items():
        yield f"- {folder}: {counts['answers scored']} answers scored by the reference for {counts['runs']} runs."
    if len(ablation.choices) > 1:
        for (base, rung), number in outcome.chosen.items():
            yield f"- {base}.{rung}: {ablation.choices[number]} chosen on dev among {len(ablation.choices)} settings."
    yield f"- versions: {', '.join(f'{name} {version}' for name, version in versions().items())}"
    for (name, where), message in outcome.problems.items():
        yield f"- FAILED: {name}, {where}: {' '.join(message.split())}"
    yield "\n## Every trial\n"
    yield from _table(["trial", "setting", "status", "steps", "seconds", *_primaries(outcome)], _trials(outcome))


def _multiples(compared: list[Line]) -> Iterator[str]:
    """Margins are what the visual terms train, each from where the other one's is: multiples say more than nats."""
    levels = list(dict.fromkeys(name for line in compared for name in line.times))
    if levels:
        yield "\nMargins as multiples, none where what is divided by may be 0:\n"
        rows = [
            [f"{line.rung} / {line.against}", *(_with_interval(line.times.get(name), 2) for name in levels)]
            for line in compared
            if line.times
        ]
        yield from _table(["ratio", *levels], rows)


def _displaced(lines: list[Line]) -> Iterator[str]:
    """Rungs whose chosen answers are surely less likely than the base's, which is what margins can be bought with."""
    name = f"{PROBE}/{CHOSEN}"
    found = {line.rung: line.figures[name] for line in lines if line.against is None and name in line.figures}
    base = found.get(BASE)
    fallen = [
        f"{rung} (by {base.value - one.value:.2f} nats)"
        for rung, one in found.items()
        if base is not None and one.high < base.low
    ]
    if fallen:
        yield f"\nDisplaced: {CHOSEN} is below the base's for {', '.join(fallen)}. Margins grow by that too: read both."


def _is_shown(name: str, primary: str) -> bool:
    source, _, figure = name.partition("/")
    return name == primary or source == "probe" or figure in _SHOWN


def _row(line: Line, names: list[str], primary: str | None = None) -> list[str]:
    """`primary`: the figure whose seeds above 0 a difference counts."""
    if line.against is None:
        title, seeds = line.rung, str(max((one.seeds for one in line.figures.values()), default=0))
    else:
        title, one = f"{line.rung} - {line.against}", line.figures.get(primary)
        seeds = "-" if one is None else f"{one.above} of {one.seeds}"
    cells = [show(line.figures.get(name), line.against is not None) for name in names]
    return [title, seeds, *cells]


def show(one: Estimate | None, signed: bool) -> str:
    """`61.2 [58.9, 63.4]`, with signs for a difference."""
    return _with_interval(one, 1 if one is not None and one.unit == "%" else 2, "+" if signed else "")


def _with_interval(one: Estimate | Quotient | None, digits: int, sign: str = "") -> str:
    if one is None:
        return "none"
    value, low, high = (f"{round(number, digits) + 0.0:{sign}.{digits}f}" for number in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def _primaries(outcome: Outcome) -> list[str]:
    return [f"{outcome.ablation.primary}, {split}" for split, figures in outcome.figures.items() if figures]


def _trials(outcome: Outcome) -> list[list[str]]:
    rows = []
    for run in outcome.runs:
        content = outcome.records[run.name].content
        setting = ", ".join(f"{key} {value}" for key, value in outcome.ablation.choices[run.choice].items()) or "-"
        status = content["status"] or "not run"
        if len(content["tries"]) > 1:
            status += f" at try {len(content['tries'])}"
        if not outcome.is_chosen(run):
            status += ", not chosen"
        cells = [f"{content.get(key, '-')}" for key in ("steps", "seconds")]
        for figures in filter(None, outcome.figures.values()):
            primary = figures.get(run.name, {}).get(outcome.ablation.primary)
            cells.append("-" if primary is None else f"{primary.value:.2f}")
        rows.append([run.name, setting, status, *cells])
    return rows


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
