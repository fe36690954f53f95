"""An ablation from start to end: every run trained and evaluated, a setting chosen on dev, the test asked once."""

from __future__ import annotations

import datetime
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vistadpo_plugin.ablation.evaluate import LOGS, Evaluator
from vistadpo_plugin.ablation.ladder import Rung
from vistadpo_plugin.ablation.plan import SFT_ROWS, Run, dataset_names, make_runs, models_of
from vistadpo_plugin.ablation.progress import Progress, show_time
from vistadpo_plugin.ablation.recipe import Ablation
from vistadpo_plugin.ablation.records import FAILED, FINISHED, Record, decides
from vistadpo_plugin.ablation.results.figures import SplitFigures
from vistadpo_plugin.ablation.results.statistics import Measured
from vistadpo_plugin.ablation.sft_rows import write_sft_rows
from vistadpo_plugin.ablation.worker import JobFailed, Worker

DEV, TEST = "dev", "test"
_LOCK = "in_use"


@dataclass
class Outcome:
    """All that happened. `figures` by split and model; `problems`: what went wrong with a model, by (model, where);
    `chosen`: the number of the choice by (base, rung); `compute`: what `same_compute_as` came to."""

    ablation: Ablation
    runs: list[Run]
    records: dict[str, Record]
    compute: dict[tuple[str, str], dict[str, float]]
    figures: dict[str, dict[str, dict[str, Measured]]] = field(default_factory=lambda: {DEV: {}, TEST: {}})
    problems: dict[tuple[str, str], str] = field(default_factory=dict)
    chosen: dict[tuple[str, str], int] = field(default_factory=dict)

    def is_chosen(self, run: Run) -> bool:
        """Whether the run's setting is the one that was chosen on dev; all are where nothing is to be chosen."""
        return self.chosen.get((run.base, run.rung.name)) == run.choice


def run_ablation(ablation: Ablation, say: Callable[[str], None] = print) -> Outcome:
    """Do whatever is not done yet.

    Raises ValueError for what cannot be used and for runs that were made in another way, before anything is trained;
    a run that fails is in the outcome, and the others go on.
    """
    with _alone(ablation.output_dir):
        worker = Worker()
        try:
            return _Running(ablation, worker, say).run()
        finally:
            worker.close()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command at a time works in a folder; the lock goes with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another `vistadpo ablate` is at work in {folder}.") from None
        yield


class _Running:
    def __init__(self, ablation: Ablation, worker: Worker, say: Callable[[str], None]):
        self.ablation, self.worker, self.say = ablation, worker, say
        splits = {TEST: ablation.test} if ablation.dev is None else {DEV: ablation.dev, TEST: ablation.test}
        self.evaluators = {name: Evaluator(ablation, name, split, worker) for name, split in splits.items()}
        self.measure = {
            name: SplitFigures(
                evaluator.questions, evaluator.split.probe is not None, evaluator.folder, ablation.bootstrap
            )
            for name, evaluator in self.evaluators.items()
        }
        self.chooses = len(ablation.choices) > 1

    def run(self) -> Outcome:
        compute = self._count_work()
        self._write_sft_rows()
        runs = make_runs(self.ablation, {rung: counted["times the steps"] for rung, counted in compute.items()})
        records = {run.name: Record(run, decides(run.keys, self._dataset_dir(run.rung))) for run in runs}
        outcome = Outcome(self.ablation, runs, records, compute)
        finished = sum(record.finished for record in records.values())
        self.say(
            f"{len(runs)} runs: {len(self.ablation.ladder.rungs)} rungs x {len(self.ablation.choices)} settings x "
            f"{len(self.ablation.seeds)} seeds x {len(self.ablation.bases)} bases; {finished} are finished already."
        )
        first = [DEV] if self.chooses else list(self.evaluators)
        for name, base, run in models_of(self.ablation, []):
            for split in self.evaluators:
                self._evaluate(outcome, split, name, base, run)
        self._check_primary(outcome)
        progress = Progress([(run.rung.name, records[run.name].seconds) for run in runs])
        for run in runs:
            self._train_and_evaluate(outcome, run, first, progress)
        self._choose(outcome)
        if self.chooses:
            for run in filter(outcome.is_chosen, runs):
                if records[run.name].finished:
                    self._evaluate(outcome, TEST, run.name, run.base, run)
        return outcome

    def _train_and_evaluate(self, outcome: Outcome, run: Run, splits: list[str], progress: Progress) -> None:
        record, started = outcome.records[run.name], time.monotonic()
        was_finished, left = record.finished, f"; {progress.left}" if progress.left else ""
        if was_finished:
            self.say(f"{progress.place}, {run.name}: trained already{left}.")
        else:
            self.say(f"{progress.place}, {run.name}: training{left} ...")
            self._train(outcome, run, record)
        went_well = record.finished and all(
            [self._evaluate(outcome, split, run.name, run.base, run) for split in splits]
        )
        progress.add(time.monotonic() - started if went_well and not was_finished else None)

    def _train(self, outcome: Outcome, run: Run, record: Record) -> None:
        checkpoint = record.begin()
        more: dict[str, Any] = {"overwrite_output_dir": True}
        if checkpoint is not None:
            self.say(f"  goes on from {checkpoint.name}.")
            more = {"resume_from_checkpoint": str(checkpoint)}
        about: dict[str, Any] = {"started": _now(), "resumed_from": str(checkpoint) if checkpoint else None}
        started = time.monotonic()
        recipe = run.write_recipe(more)
        about["command"] = f"llamafactory-cli train {recipe}"
        try:
            found = self.worker.run("train", self.ablation.output_dir / LOGS / f"{run.name}.txt", recipe=str(recipe))
        except JobFailed as error:
            about |= {"seconds": round(time.monotonic() - started, 1), "error": str(error), "trace": error.trace}
            record.close(FAILED, about)
            self._problem(outcome, run.name, "training", str(error))
            return
        record.close(FINISHED, {**about, "seconds": round(time.monotonic() - started, 1), **found})
        self.say(f"  trained: {found['steps']} steps in {show_time(record.seconds)}.")

    def _evaluate(self, outcome: Outcome, split: str, name: str, base: str, run: Run | None) -> bool:
        """Whether it went well; what went wrong is in the outcome."""
        try:
            self.evaluators[split].evaluate(name, base, run)
            outcome.figures[split][name] = self.measure[split].of(name)
        except (JobFailed, ValueError, OSError) as error:
            self._problem(outcome, name, split, str(error))
            return False
        primary = outcome.figures[split][name].get(self.ablation.primary)
        if primary is not None:
            self.say(f"  {name}, {split}: {self.ablation.primary} {primary.value:.2f} {primary.unit}")
        return True

    def _problem(self, outcome: Outcome, name: str, where: str, message: str) -> None:
        outcome.problems[name, where] = message
        self.say(f"  FAILED: {name}, {where}: {message}")

    def _check_primary(self, outcome: Outcome) -> None:
        """Raise ValueError where no benchmark gives the primary figure, before hours of training."""
        for split in [DEV, TEST] if self.chooses else [TEST]:
            for name, figures in outcome.figures[split].items():
                if self.ablation.primary not in figures:
                    raise ValueError(
                        f"`primary: {self.ablation.primary}`: {name} has no such figure on {split}. There are: "
                        f"{', '.join(figures)}."
                    )

    def _choose(self, outcome: Outcome) -> None:
        """For each rung of each base the setting with the best mean on dev; the first of equals."""
        for base in self.ablation.bases:
            for rung in self.ablation.ladder.rungs:
                means = {}
                for number in range(len(self.ablation.choices)):
                    values = [
                        outcome.figures[DEV][run.name][self.ablation.primary].value
                        for run in outcome.runs
                        if (run.base, run.rung, run.choice) == (base, rung, number) and run.name in outcome.figures[DEV]
                    ]
                    if values:
                        means[number] = sum(values) / len(values)
                if not self.chooses:
                    outcome.chosen[base, rung.name] = 0
                elif means:
                    best = max(means, key=lambda number: (means[number], -number))
                    outcome.chosen[base, rung.name] = best
                    self.say(f"{base}.{rung.name}: {self.ablation.choices[best]} chosen on dev.")

    def _count_work(self) -> dict[tuple[str, str], dict[str, float]]:
        """For every rung with `same_compute_as`, how many times the steps it takes to do as much work."""
        found = {}
        for base, of_base in self.ablation.bases.items():
            for rung in self.ablation.ladder.rungs:
                if rung.same_compute_as is None:
                    continue
                other = self.ablation.rung(rung.same_compute_as)
                own, much = (self._work({**self.ablation.training, **of_base, **one.keys}) for one in (rung, other))
                found[base, rung.name] = {"work of a row": own, "to be matched": much, "times the steps": much / own}
        return found

    def _work(self, keys: dict[str, Any]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "recipe.yaml")
            own = {"stage": "vistadpo", "do_train": True, "output_dir": os.path.join(folder, "model")}
            path.write_text(yaml.safe_dump({**keys, **own}), encoding="utf-8")
            log = self.ablation.output_dir / LOGS / "work.txt"
            try:
                return self.worker.run("count", log, recipe=str(path))["work"]
            except JobFailed as error:
                raise ValueError(f"the work of a row cannot be counted: {error}") from None

    def _write_sft_rows(self) -> None:
        """The same rows for `stage: sft`, where a rung is of that."""
        for rung in self.ablation.ladder.rungs:
            if rung.is_sft:
                keys = {**self.ablation.training, **rung.keys}
                folder = self.ablation.output_dir / SFT_ROWS
                write_sft_rows(dataset_names(keys), self._dataset_dir(rung), keys.get("media_dir"), folder)

    def _dataset_dir(self, rung: Rung) -> str:
        """Where the recipe has its rows listed, `data` being the host's default."""
        return str({**self.ablation.training, **rung.keys}.get("dataset_dir", "data"))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
