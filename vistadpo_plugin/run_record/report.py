"""What a training run was: its recipe, its data, its machine, its figures. Written for people and for programs.

`resolved_recipe.yaml` is a recipe, and says the rest in comments; `vistadpo_run.json` says all of it to programs. Both
are in the output folder before the first step, and complete after the last one.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.run_record.provenance import file_sha256, versions
from vistadpo_plugin.run_record.resolved_recipe import ResolvedRecipe, hide_secrets

RESOLVED_RECIPE, RUN_REPORT = "resolved_recipe.yaml", "vistadpo_run.json"
_COUNTED = (".json", ".jsonl")


class RunReport:
    """Of one run, on its main process. `facts` is the content of `vistadpo_run.json`."""

    def __init__(self, folder: str, skipped: Path, recipe: ResolvedRecipe, facts: dict[str, Any]):
        self.folder, self.skipped, self.recipe, self.facts = Path(folder), skipped, recipe, facts

    def write(self) -> None:
        """Both files, as far as things are known."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.facts["skipped"] = hide_secrets(skipped_rows(self.skipped))
        comments = "".join(f"# {line}".rstrip() + "\n" for line in heading(self.facts))
        metrics = "".join(f"# {line}".rstrip() + "\n" for line in ending(self.facts))
        write_text(self.folder / RESOLVED_RECIPE, "\n".join(filter(None, (comments, self.recipe.to_yaml(), metrics))))
        content = json.dumps(_finite(self.facts), indent=1, ensure_ascii=False, default=str)
        write_text(self.folder / RUN_REPORT, content + "\n")

    def finish(self, log_history: list[dict[str, Any]], reference_answers: int | None = None) -> None:
        """Add the final figures of the trainer's log, and with a cache what the reference had to score; write."""
        self.facts["finished"], self.facts["metrics"] = _now(), final_metrics(log_history)
        self.facts["reference_answers"] = reference_answers
        self.write()


@dataclass(frozen=True)
class RunStart:
    """What is told of a run before its first step.

    `skipped` is the file in which rows that were skipped are listed, once there are any; `weights` are those of the
    terms; `data` is of `hash_data`; `rows` says of every data set how many rows there are and which terms they carry.
    """

    output_dir: str
    skipped: Path
    recipe: ResolvedRecipe
    model: str
    adapter: list[str] | None
    ref_model: str | None
    resumed_from: str | bool | None
    device: torch.device
    world_size: int
    weights: dict[str, float]
    data: list[dict[str, Any]]
    rows: dict[str, dict[str, Any]]


def start_report(run: RunStart) -> RunReport:
    """The report of a run that is about to begin."""
    cuda = run.device.type == "cuda"
    facts = {
        "started": _now(),
        "finished": None,
        "versions": versions(),
        "device": torch.cuda.get_device_name(run.device) if cuda else run.device.type,
        "world_size": run.world_size,
        "model": run.model,
        "adapter": run.adapter,
        "ref_model": run.ref_model,
        "resumed_from": run.resumed_from,
        "weights": run.weights,
        "recipe": run.recipe.keys,
        "left_out": list(run.recipe.left_out),
        "data": run.data,
        "rows": run.rows,
        "skipped": {},
        "reference_answers": None,  # with a reference cache: those that it did not know
        "metrics": None,
    }
    return RunReport(run.output_dir, run.skipped, run.recipe, hide_secrets(facts))


def hash_data(names: Iterable[str], dataset_dir: str, tokenized_path: str | None) -> list[dict[str, Any]]:
    """For every file of the named data sets: data set, path, SHA-256, and rows where they are JSON (all of the file's).

    A data set that is no file here has no hash. Of a `tokenized_path` the files in it are what is trained on.
    """
    if tokenized_path is not None:
        return [_hashed("tokenized_path", str(file)) for file in sorted(Path(tokenized_path).rglob("*.arrow"))]
    from llamafactory.data.parser import get_dataset_list

    names = list(dict.fromkeys(names))  # a data set may be trained on and evaluated
    found = []
    for name, entry in zip(names, get_dataset_list(names, dataset_dir), strict=True):
        if entry.load_from != "file":
            found.append({"dataset": name, "from": entry.load_from, "name": entry.dataset_name})
            continue
        path = os.path.join(dataset_dir, entry.dataset_name)
        files = [os.path.join(path, file) for file in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        found += [_hashed(name, os.path.normpath(file)) for file in files]
    return found


def _hashed(dataset: str, file: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"dataset": dataset, "file": file, "sha256": file_sha256(file)}
    if file.endswith(_COUNTED):
        entry["rows"] = len(read_rows(file))
    return entry


def skipped_rows(path: Path) -> dict[str, Any]:
    """By data set the rows that were skipped, and their reasons, counted; figures in a reason stand as #."""
    if not path.is_file():
        return {}
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {}
    for name in dict.fromkeys(entry["dataset"] for entry in entries):
        reasons = Counter(re.sub(r"\d+(\.\d+)?", "#", e["reason"]) for e in entries if e["dataset"] == name)
        found[name] = {"rows": sum(reasons.values()), "reasons": dict(reasons.most_common())}
    return found


def final_metrics(log_history: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the whole run, of the first and last training log, and of the last evaluation of each data set."""
    logs = [entry for entry in log_history if "loss" in entry]
    whole = next((entry for entry in reversed(log_history) if "train_runtime" in entry), {})
    evaluation: dict[str, Any] = {}
    for entry in log_history:
        evaluation |= {name: value for name, value in entry.items() if name.startswith("eval_")}
    return {
        "train": whole,
        "first": logs[0] if logs else {},
        "last": logs[-1] if logs else {},
        "eval": evaluation,
    }


def heading(facts: dict[str, Any]) -> list[str]:
    """What the recipe begins with, line by line."""
    recipe = facts["recipe"]
    lines = [
        f"VistaDPO on {facts['model']}, as it was run: all that was set, and every vista_ key.",
        "",
        f"  command:   llamafactory-cli train {recipe.get('output_dir', '.')}/{RESOLVED_RECIPE} output_dir=ANOTHER",
        f"  machine:   {facts['world_size']} x {facts['device']}",
        f"  started:   {facts['started']}",
        f"  versions:  {', '.join(f'{name} {version}' for name, version in facts['versions'].items())}",
    ]
    for entry in facts["data"]:
        if "sha256" in entry:
            rows = f", {entry['rows']} rows" if "rows" in entry else ""
            lines.append(f"  data:      {entry['dataset']}: {entry['file']}{rows}")
            lines.append(f"             sha256 {entry['sha256']}")
        else:
            lines.append(f"  data:      {entry['dataset']}: {entry['name']} from {entry['from']}, not hashed")
    for name, counts in facts["rows"].items():
        terms = ", ".join(f"{term} {count['rows']}" for term, count in counts["terms"].items())
        lines.append(f"  rows:      {name} {counts['rows']}, of which carry {terms}")
    for name, skipped in facts["skipped"].items():
        lines.append(f"  skipped:   {name} {skipped['rows']}")
        lines += [f"             {count} x {reason}" for reason, count in skipped["reasons"].items()]
    if facts["left_out"]:
        lines.append(f"  left out:  {', '.join(facts['left_out'])}, set in the run and secret: set them again")
    return [" ".join(line.splitlines()) for line in lines]


def ending(facts: dict[str, Any]) -> list[str]:
    """What the recipe ends with, line by line: nothing as long as the run has not finished."""
    metrics = facts["metrics"]
    if metrics is None:
        return []
    lines = [f"finished: {facts['finished']}"]
    for title, figures in (("whole run", metrics["train"]), ("evaluation", metrics["eval"])):
        if figures:
            lines += [f"{title}:", *(f"  {name:<32}{shown(value)}" for name, value in figures.items())]
    rows = compared(metrics)
    if rows:
        lines += [f"{'training log:':<34}{'first':<14}last"]
        lines += [f"  {name:<32}{first:<14}{last}" for name, first, last in rows]
    return lines


def compared(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, its value in the first training log, in the last)."""
    first, last = metrics["first"], metrics["last"]
    return [(name, shown(first.get(name)), shown(value)) for name, value in last.items()]


def shown(value: Any) -> str:
    """A figure for people: six digits, - for none."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    """JSON has no NaN (a term that no row had) and no infinity."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
