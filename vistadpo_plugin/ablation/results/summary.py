"""The trials put together: every rung over its seeds, and every comparison over the seeds that both rungs have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vistadpo_plugin.ablation.ladder import BASE
from vistadpo_plugin.ablation.results.figures import PROBE
from vistadpo_plugin.ablation.results.statistics import Estimate, Measured, Quotient, difference, estimate, quotient
from vistadpo_plugin.ablation.run import Outcome
from vistadpo_plugin.evaluation.probe.table import LEVELS

ALL_BASES = "all bases"


@dataclass(frozen=True)
class Line:
    """A rung, or its difference to `against`, on one base or all of them: an estimate of every figure that it has.

    `times`: on one base, the margins of the probe as multiples of those of `against`, where those are surely above 0.
    """

    base: str
    rung: str
    against: str | None
    figures: dict[str, Estimate]
    times: dict[str, Quotient] = field(default_factory=dict)


def lines_of(outcome: Outcome, split: str) -> list[Line]:
    """Rungs first, then comparisons, each on every base, and on all together where there are several."""
    bases = list(outcome.ablation.bases)
    groups = [(base, [base]) for base in bases] + ([(ALL_BASES, bases)] if len(bases) > 1 else [])
    rungs: list[tuple[str, str | None]] = [
        (name, None) for name in (BASE, *(rung.name for rung in outcome.ablation.ladder.rungs))
    ]
    names = figure_names(outcome, split)
    lines = []
    for title, members in groups:
        for rung, against in rungs + list(outcome.ablation.ladder.compared):
            by_base = [_of_base(outcome, split, base, rung, against) for base in members]
            figures = dict(_figures(names, by_base))
            times = dict(_times(by_base[0])) if against is not None and len(members) == 1 else {}
            lines.append(Line(title, rung, against, figures, times))
    return lines


Seeds = list[tuple[dict[str, Measured], dict[str, Measured] | None]]
"""Seed by seed the figures of a rung, and of the one that it is held against, if it is."""


def _figures(names: list[str], by_base: list[Seeds]) -> Iterator[tuple[str, Estimate]]:
    """(figure, estimate) of those that every base has of the rung, and of the one it is held against."""
    for name in names:
        values = [
            [
                own[name] if others is None else difference(own[name], others[name])
                for own, others in seeds
                if name in own and (others is None or name in others)
            ]
            for seeds in by_base
        ]
        if all(values):
            yield name, estimate(values)


def _times(seeds: Seeds) -> Iterator[tuple[str, Quotient]]:
    for name in (f"{PROBE}/{level}" for level in LEVELS):
        pairs = [(own[name], others[name]) for own, others in seeds if name in own and name in others]
        found = quotient(pairs) if pairs else None
        if found is not None:
            yield name, found


def _of_base(outcome: Outcome, split: str, base: str, rung: str, against: str | None) -> Seeds:
    """An untrained base is the same under every seed."""
    own = _by_seed(outcome, split, base, rung)
    if against is None:
        return [(figures, None) for figures in own.values()]
    others = _by_seed(outcome, split, base, against)
    if None in others:
        others = dict.fromkeys(own, others[None])
    return [(own[seed], others[seed]) for seed in own if seed in others]


def _by_seed(outcome: Outcome, split: str, base: str, rung: str) -> dict[int | None, dict[str, Measured]]:
    """The figures of a rung's runs in the chosen setting, by seed; of an untrained base under None."""
    figures = outcome.figures[split]
    if rung == BASE:
        name = f"{base}.{BASE}"
        return {None: figures[name]} if name in figures else {}
    return {
        run.seed: figures[run.name]
        for run in outcome.runs
        if (run.base, run.rung.name) == (base, rung) and outcome.is_chosen(run) and run.name in figures
    }


def figure_names(outcome: Outcome, split: str) -> list[str]:
    """All figures of a split, the primary one first."""
    names = dict.fromkeys(name for figures in outcome.figures[split].values() for name in figures)
    primary = outcome.ablation.primary
    return [primary, *(name for name in names if name != primary)] if primary in names else list(names)
