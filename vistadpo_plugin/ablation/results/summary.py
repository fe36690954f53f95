"""The trials put together: every rung over its seeds, and every comparison over the seeds that both rungs have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vistadpo_plugin.ablation.ladder import BASE
from vistadpo_plugin.ablation.results.statistics import Estimate, Measured, difference, estimate
from vistadpo_plugin.ablation.run import Outcome

ALL_BASES = "all bases"


@dataclass(frozen=True)
class Line:
    """A rung, or its difference to `against`, on one base or all of them: an estimate of every figure that it has."""

    base: str
    rung: str
    against: str | None
    figures: dict[str, Estimate]


def lines_of(outcome: Outcome, split: str) -> list[Line]:
    """Rungs first, then comparisons, each on every base, and on all together where there are several."""
    bases = list(outcome.ablation.bases)
    groups = [(base, [base]) for base in bases] + ([(ALL_BASES, bases)] if len(bases) > 1 else [])
    rungs: list[tuple[str, str | None]] = [
        (name, None) for name in (BASE, *(rung.name for rung in outcome.ablation.ladder.rungs))
    ]
    lines = []
    for title, members in groups:
        for rung, against in rungs + list(outcome.ablation.ladder.compared):
            figures = dict(_figures(outcome, split, members, rung, against))
            lines.append(Line(title, rung, against, figures))
    return lines


def _figures(
    outcome: Outcome, split: str, bases: list[str], rung: str, against: str | None
) -> Iterator[tuple[str, Estimate]]:
    """(figure, estimate) of those that every base has of the rung, and of the one it is held against."""
    by_base = [_of_base(outcome, split, base, rung, against) for base in bases]
    for name in figure_names(outcome, split):
        values = [[seed[name] for seed in seeds if name in seed] for seeds in by_base]
        if all(values):
            yield name, estimate(values)


def _of_base(outcome: Outcome, split: str, base: str, rung: str, against: str | None) -> list[dict[str, Measured]]:
    """The figures, or their differences, seed by seed; an untrained base is the same under every seed."""
    own = _by_seed(outcome, split, base, rung)
    if against is None:
        return list(own.values())
    others = _by_seed(outcome, split, base, against)
    if None in others:
        others = dict.fromkeys(own, others[None])
    return [
        {name: difference(own[seed][name], others[seed][name]) for name in own[seed] if name in others[seed]}
        for seed in own
        if seed in others
    ]


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
