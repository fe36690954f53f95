"""Every question read is written or left out for a reason that is counted; so are things said about written rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from vistadpo_plugin.data.video.video import natural_order

_EXAMPLES = 3


@dataclass
class Account:
    """Counts of one run. The places of a reason are sorted when shown, so the order of reading does not matter."""

    noun: str = "question"
    done: str = "read"
    read: int = 0
    written: int = 0
    left_out: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    noted: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def leave_out(self, reason: str, where: str, detail: str = "") -> None:
        """Count what is not written; `detail` says more about this one than its reason."""
        self.left_out[reason].append((where, detail))

    def note(self, remark: str, where: str, detail: str = "") -> None:
        """Count something about what is written."""
        self.noted[remark].append((where, detail))

    def check(self) -> None:
        """Raises AssertionError when the books do not balance, which only a defect of the builder can cause."""
        missing = self.read - self.written - sum(map(len, self.left_out.values()))
        assert missing == 0, f"{missing} of {self.read} {self.noun}s are neither written nor accounted for"

    def table(self) -> list[tuple[str, int]]:
        """(line, count): read, written, left out by reason, then the notes; the most frequent first."""
        lines = [(f"{self.noun}s {self.done}", self.read), ("rows written", self.written)]
        lines += [(f"left out: {reason}", len(places)) for reason, places in _ordered(self.left_out)]
        return lines + [(f"note: {remark}", len(places)) for remark, places in _ordered(self.noted)]

    def examples(self) -> list[str]:
        """A few places of every reason for leaving something out."""
        shown = []
        for reason, places in _ordered(self.left_out):
            details = dict(places)
            first = natural_order(details)[:_EXAMPLES]
            shown += [f"{where}: {details[where] or reason}" for where in first]
            if len(places) > len(first):
                shown.append(f"... and {len(places) - len(first)} more: {reason}")
        return shown

    def entries(self) -> list[dict[str, Any]]:
        """Everything left out, and every note that has a detail, one JSON object each."""
        found = [("left out", reason, *place) for reason, places in self.left_out.items() for place in places]
        found += [("note", remark, *place) for remark, places in self.noted.items() for place in places if place[1]]
        return [dict(zip(("what", "reason", "where", "detail"), entry, strict=True)) for entry in sorted(found)]

    def format(self) -> str:
        """The table as aligned text, then the examples."""
        lines = self.table()
        width = max(len(line) for line, _ in lines)
        text = [f"  {line:<{width}}  {count:>7}" for line, count in lines]
        return "\n".join(text + [f"  {example}" for example in self.examples()])


def _ordered(places: dict[str, list[tuple[str, str]]]) -> list[tuple[str, list[tuple[str, str]]]]:
    return sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
