"""What a scorer returns: figures that know what they count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vistadpo_plugin.evaluation.question import Question

Judge = Callable[[list[list[dict[str, str]]]], list[str | None]]
"""Chat messages of many requests -> the judge's reply to each, None where none came (`judge.Judge`)."""


@dataclass(frozen=True)
class Figure:
    """`total` over `of` questions: a fraction, or a mean score. `of` 0 has no value."""

    total: float
    of: int
    unit: str = "%"

    @property
    def value(self) -> float | None:
        """Per cent where the unit says so, else the mean."""
        return None if self.of == 0 else self.total / self.of * (100 if self.unit == "%" else 1)


@dataclass
class Score:
    """A benchmark's figures by name in the order in which papers print them, `counts` of what went wrong (`unparsable`,
    `missing`, ...), and `notes`, sentences a reader of the figures has to know."""

    figures: dict[str, Figure]
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Benchmark(Protocol):
    """One benchmark: a module-level object in `benchmarks/`, listed in `benchmarks.BENCHMARKS`.

    `prompt` is the template as reports state it; `needs_judge`: `score` without one raises ValueError. One that does
    not need a judge but asks it, where there is one, what its rule cannot decide, has `falls_back` true. What a judge
    is told is the benchmark's `judge_prompt` or in its questions' details. `headline` is the figure that stands for the
    benchmark in a sentence.
    """

    name: str
    prompt: str
    needs_judge: bool
    headline: str

    def files(self, annotations: Path) -> list[Path]:
        """The annotation files below the folder `annotations`; raises ValueError naming one that is missing."""

    def questions(self, annotations: Path) -> list[Question]:
        """All questions in file order; raises ValueError with file, entry and field for what cannot be read."""

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """Figures over the questions that have a reply. `counts["missing"]` are those that have none; whether that is
        allowed is the caller's business."""


def takes_judge(benchmark: Benchmark) -> bool:
    """Whether a judge is asked, where the recipe names one."""
    return benchmark.needs_judge or getattr(benchmark, "falls_back", False)
