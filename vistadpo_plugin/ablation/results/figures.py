"""What a model is worth on a split: the benchmarks' own figures and the probe's margins, with bootstrap replicates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vistadpo_plugin.ablation.results.statistics import Measured, draw_weights, ranks, ratios
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.probe.table import LEVELS
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.rank import auc, by_subset, truth, wins
from vistadpo_plugin.evaluation.replies import REPLIES, known_margins, known_replies
from vistadpo_plugin.evaluation.score import Figure

PROBE, CHOSEN, CHOICE = "probe", "log p(y_w)", "choice"
ANSWERS = ("relevant", "irrelevant")
"""The levels that hold y_w against another answer to the same video."""
_SEED = 0  # of the drawn questions: the same for all models


class SplitFigures:
    """The figures of every model on one split, by `BENCHMARK/FIGURE` and `probe/LEVEL`.

    Units that are drawn: pairs of a benchmark that has them (VideoHallucer), else questions; rows of the probe.
    """

    def __init__(self, questions: Mapping[str, list[Question]], probes: bool, folder: Path, replicates: int):
        """`questions` by benchmark; `folder`: BENCHMARK/MODEL/replies.jsonl and, with `probes`, probe/MODEL.json."""
        self.questions, self.probes, self.folder, self.replicates = questions, probes, folder, replicates
        self._weights: dict[str, np.ndarray] = {}

    def of(self, model: str) -> dict[str, Measured]:
        """All figures of a model that has been evaluated."""
        found = {}
        for name, questions in self.questions.items():
            found |= {f"{name}/{figure}": one for figure, one in self._benchmark(name, questions, model).items()}
        if self.probes:
            found |= {f"{PROBE}/{level}": one for level, one in self._probe(model).items()}
        return found

    def _drawn(self, name: str, strata: Sequence[str]) -> np.ndarray:
        if name not in self._weights:
            self._weights[name] = draw_weights(strata, self.replicates, _SEED)
        return self._weights[name]

    def _benchmark(self, name: str, questions: list[Question], model: str) -> dict[str, Measured]:
        path = self.folder / name / model / REPLIES
        replies = known_replies(path, questions)
        units = _units(questions)
        weights = self._drawn(name, [members[0].subset for members in units])
        benchmark = BENCHMARKS[name]
        whole = benchmark.score(questions, replies).figures
        parts = [benchmark.score(members, replies).figures for members in units]
        found = {}
        for figure, given in whole.items():
            if given.value is None:
                continue
            scale = 100 if given.unit == "%" else 1
            alone = [[part.get(one, Figure(0, 0)) for part in parts] for one in _means(figure, whole)]
            # Whatever is neither a ratio of sums over units nor a mean of such ratios has no replicates here.
            if np.isclose(_replicates(alone, np.ones((1, len(units))))[0] * scale, given.value):
                found[figure] = Measured(given.value, _replicates(alone, weights) * scale, given.unit)
        margins = known_margins(path)
        if margins.keys() == replies.keys():
            place = {question.id: index for index, members in enumerate(units) for question in members}
            for figure, members in by_subset(questions).items():
                found[figure] = _rank(members, place, margins, weights)
        return found

    def _probe(self, model: str) -> dict[str, Measured]:
        rows = json.loads((self.folder / PROBE / f"{model}.json").read_text(encoding="utf-8"))["rows"]
        weights = self._drawn(PROBE, ["row"] * len(rows))
        if weights.shape[1] != len(rows):
            raise ValueError(f"{model}: the probe has {len(rows)} rows, {weights.shape[1]} of another model.")
        values = {level: [row["margins"].get(level) for row in rows] for level in LEVELS}
        values[CHOSEN] = [row["log_probs"].get("full/chosen") for row in rows]
        found = {level: _mean(given, weights, "nats") for level, given in values.items()}
        found[CHOICE] = _mean([_choice(row["margins"]) for row in rows], weights, "%")
        return {level: one for level, one in found.items() if one is not None}


def _choice(margins: Mapping[str, float]) -> float | None:
    """Multiple choice among a row's own answers, in per cent: whether y_w is the likeliest. None without another."""
    held = [margins[level] > 0 for level in ANSWERS if level in margins]
    return 100.0 * all(held) if held else None


def _mean(given: Sequence[float | None], weights: np.ndarray, unit: str) -> Measured | None:
    """Over the rows that have a value; None where none has."""
    counts = np.array([value is not None for value in given], dtype=float)
    if not counts.any():
        return None
    totals = np.array([value or 0.0 for value in given])
    return Measured(float(totals.sum() / counts.sum()), ratios(totals, counts, weights), unit)


def _units(questions: list[Question]) -> list[list[Question]]:
    """Questions that belong together: pairs where a benchmark has them."""
    units: dict[str, list[Question]] = {}
    for question in questions:
        units.setdefault(question.details.get("pair", question.id), []).append(question)
    return list(units.values())


def _means(figure: str, whole: Mapping[str, Any]) -> list[str]:
    """The figures of which a figure is the unweighted mean: itself, or VideoHallucer's subsets for a total."""
    kind = figure.removeprefix("total/")
    if kind == figure:
        return [figure]
    return [name for name in whole if name.endswith(f"/{kind}") and name != figure]


def _replicates(components: list[list[Any]], weights: np.ndarray) -> np.ndarray:
    """(B,) the mean of ratios, each of the figures that units have alone."""
    found = []
    for parts in components:
        totals = np.array([part.total for part in parts], dtype=float)
        counts = np.array([part.of for part in parts], dtype=float)
        found.append(ratios(totals, counts, weights))
    return np.mean(found, axis=0)


def _rank(
    questions: list[Question], place: Mapping[str, int], margins: Mapping[str, float], weights: np.ndarray
) -> Measured:
    """`place`: the unit in which each question is, by its id."""
    places: dict[bool, list[int]] = {True: [], False: []}
    values: dict[bool, list[float]] = {True: [], False: []}
    for question in questions:
        places[bool(truth(question))].append(place[question.id])
        values[bool(truth(question))].append(margins[question.id])
    pair_wins = wins(np.array(values[True]), np.array(values[False]))
    drawn = ranks(pair_wins, weights[:, places[True]], weights[:, places[False]])
    return Measured(100 * auc(values[True], values[False]), 100 * drawn, "%")
