"""The report: what was scored and how, as JSON, and as tables with every model beside the first one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.evaluation.recipe import FRAME_KEYS
from vistadpo_plugin.evaluation.score import Figure, Score

POINTS = {"%": 1, "of 5": 20}
"""Points of a hundred for one of a figure's unit."""

JSON_REPORT, MARKDOWN_REPORT = "report.json", "report.md"


def model_entry(score: Score, settings: dict[str, Any] | None, missing: int) -> dict[str, Any]:
    """A model's part of a benchmark's report; `settings` None where nothing says how the replies were made."""
    figures = {name: {**asdict(figure), "value": figure.value} for name, figure in score.figures.items()}
    counts = {**score.counts, "missing": missing}
    return {"figures": figures, "counts": counts, "notes": score.notes, "settings": settings}


def write_report(folder: Path, report: dict[str, Any]) -> str:
    """Write report.json and report.md into `folder`; returns the text of the latter."""
    text = format_report(report)
    write_text(folder / JSON_REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / MARKDOWN_REPORT, text)
    return text


def format_report(report: dict[str, Any]) -> str:
    """The report in Markdown: a section for each benchmark, its table first."""
    sections = [_section(name, entry) for name, entry in report["benchmarks"].items()]
    said = verdicts(report)
    return "\n".join(["# Evaluation\n", *([*said, ""] if said else []), *sections])


def verdicts(report: dict[str, Any]) -> list[str]:
    """A line for each model but the first, where the recipe says which benchmarks are of general ability: how far
    hallucination is down by the others, and what became of general ability.

    Points of a hundred, of each benchmark's headline figure; of several benchmarks the mean.
    """
    if not report.get("general"):
        return []
    models = {name: None for entry in report["benchmarks"].values() for name in entry["models"]}
    base, *others = models
    return [_verdict(report, base, other) for other in others]


def _verdict(report: dict[str, Any], base: str, other: str) -> str:
    changes: dict[bool, dict[str, float]] = {True: {}, False: {}}
    unknown, partial = [], False
    for name, entry in report["benchmarks"].items():
        first, second = (_figure(entry["models"][model], entry["headline"]) for model in (base, other))
        if first is None or second is None:
            unknown.append(name)
            continue
        partial |= any(entry["models"][model]["counts"]["missing"] > 0 for model in (base, other))
        points = (second.value - first.value) * POINTS[first.unit]
        changes[name in report["general"]][name] = round(points, 1) + 0.0
    parts = []
    if changes[False]:
        mean = sum(changes[False].values()) / len(changes[False])
        parts.append(f"hallucination {'down' if mean >= 0 else 'up'} by {abs(mean):.1f} points {_each(changes[False])}")
    if changes[True]:
        mean = sum(changes[True].values()) / len(changes[True])
        fell = [name for name, points in changes[True].items() if points < 0]
        parts.append(
            f"general ability {mean + 0.0:+.1f} points {_each(changes[True])}, "
            + (f"fell: {', '.join(fell)}" if fell else "none fell")
        )
    said = "; ".join(parts) or "nothing can be compared"
    without = f"; without {', '.join(unknown)}" if unknown else ""
    return f"{other} against {base}: {said}{without}{' (partial)' if partial else ''}."


def _each(changes: dict[str, float]) -> str:
    return "(" + ", ".join(f"{name} {points:+.1f}" for name, points in changes.items()) + ")"


def _section(name: str, entry: dict[str, Any]) -> str:
    lines = [f"## {name}", "", *_table(entry["models"]), ""]
    lines.append(f"- questions: {entry['questions']}")
    lines += [f"- annotations: {file}, sha256 {digest}" for file, digest in entry["annotations"].items()]
    lines.append(f"- prompt: {_code(entry['prompt'])}")
    lines.append(f"- judge: {_judge(entry['judge'])}")
    for model, made in entry["models"].items():
        lines.append(f"- {model}: {_how(made['settings'])}")
        lines.append(f"- {model}, counts: " + ", ".join(f"{what} {count}" for what, count in made["counts"].items()))
    lines += [f"- {note}" for note in _notes(entry["models"])]
    return "\n".join(lines) + "\n"


def _notes(models: dict[str, dict[str, Any]]) -> list[str]:
    """Every note once; behind the names of those that it is about, where it is not about all."""
    about: dict[str, list[str]] = {}
    for model, made in models.items():
        for note in made["notes"]:
            about.setdefault(note, []).append(model)
    return [note if len(names) == len(models) else f"{', '.join(names)}: {note}" for note, names in about.items()]


def _table(models: dict[str, dict[str, Any]]) -> list[str]:
    base, *others = models
    rows = [["figure", *models, *(f"{other} - {base}" for other in others)], []]
    names = {name: None for made in models.values() for name in made["figures"]}
    for name in names:
        cells = [_cell(made, name) for made in models.values()]
        rows.append([name, *cells, *(_difference(models[base], models[other], name) for other in others)])
    rows[1] = ["-" * max(map(len, column)) for column in zip(*(rows[:1] + rows[2:]), strict=True)]
    widths = [len(rule) for rule in rows[1]]
    return ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]


def _figure(made: dict[str, Any], name: str) -> Figure | None:
    """The figure, None where it is absent or has no value."""
    given = made["figures"].get(name)
    return None if given is None or given["value"] is None else Figure(given["total"], given["of"], given["unit"])


def _digits(figure: Figure) -> int:
    return 1 if figure.unit == "%" else 2


def _cell(made: dict[str, Any], name: str) -> str:
    """`50.6 (207/409)`, `2.87 (500)` for a mean, with what is missing beside it."""
    missing = f"; {made['counts']['missing']} missing" if made["counts"]["missing"] else ""
    figure = _figure(made, name)
    if figure is None:
        return f"none{missing}"
    counted = figure.unit == "%" and float(figure.total).is_integer()
    of = f"{figure.total:.0f}/{figure.of}" if counted else str(figure.of)
    return f"{figure.value:.{_digits(figure)}f} ({of}{missing})"


def _difference(base: dict[str, Any], other: dict[str, Any], name: str) -> str:
    first, second = _figure(base, name), _figure(other, name)
    if first is None or second is None:
        return "none"
    digits = _digits(first)
    partial = " (partial)" if base["counts"]["missing"] or other["counts"]["missing"] else ""
    return f"{round(second.value - first.value, digits) + 0.0:+.{digits}f}{partial}"


def _how(settings: dict[str, Any] | None) -> str:
    if settings is None:
        return "nothing says how the replies were made"
    names = ", ".join(settings[key] for key in ("model_name_or_path", "adapter_name_or_path") if key in settings)
    frames = ", ".join(f"{key} {settings[key]}" for key in FRAME_KEYS if key in settings)
    return f"{names}; template {settings['template']}; frames: {frames}; decoding: {settings['decoding']}"


def _judge(judge: Any) -> str:
    return "none" if judge is None else judge if isinstance(judge, str) else _code(judge)


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"
