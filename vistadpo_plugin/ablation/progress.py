"""Which run of how many, and how long the others will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean


class Progress:
    """Counts runs, and estimates what is left from those of the same rung, else from all that took time."""

    def __init__(self, runs: Sequence[tuple[str, float | None]]):
        """`runs`: (rung, seconds where it is finished already) of each, in the order in which they come."""
        self.runs, self.done = runs, 0
        self._seconds: dict[str, list[float]] = defaultdict(list)
        for rung, seconds in runs:
            if seconds is not None:
                self._seconds[rung].append(seconds)

    @property
    def place(self) -> str:
        """`run 3 of 45`, of the one that comes."""
        return f"run {self.done + 1} of {len(self.runs)}"

    def add(self, seconds: float | None) -> None:
        """One more is done, and took so long; None: it failed, or was finished before."""
        if seconds is not None:
            self._seconds[self.runs[self.done][0]].append(seconds)
        self.done += 1

    @property
    def left(self) -> str:
        """`about 12 minutes left`; nothing where nothing is known or left."""
        known = {rung: fmean(seconds) for rung, seconds in self._seconds.items()}
        rest = [rung for rung, seconds in self.runs[self.done :] if seconds is None]
        if not known or not rest:
            return ""
        usual = fmean(known.values())
        return f"about {show_time(sum(known.get(rung, usual) for rung in rest))} left"


def show_time(seconds: float) -> str:
    """`40 s`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"
