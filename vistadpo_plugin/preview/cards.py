"""The rows that are shown, each with its views or with what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vistadpo_plugin.data.batches.mates import draw_rejected
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.preview.candidates import FIRST_EPOCH, Candidate, find_mates
from vistadpo_plugin.preview.settings import PreviewSettings
from vistadpo_plugin.preview.shown import ShownRow, show_row


@dataclass(frozen=True)
class Card:
    """A row to look at: `shown`, or the `error` that kept it from being shown."""

    candidate: Candidate
    shown: ShownRow | None
    error: str | None = None


def make_cards(candidates: Sequence[Candidate], chosen: Sequence[int], settings: PreviewSettings) -> list[Card]:
    """The rows at these indices. What they are shown with depends on all candidates: the mates come from them."""
    builder, mates = settings.builder(), find_mates(candidates, settings)
    cards = []
    for index in chosen:
        candidate, error, shown = candidates[index], candidates[index].error, None
        if error is None:
            try:
                row = draw_rejected(candidate.grounded, settings.pairing_seed, FIRST_EPOCH)
                shown = show_row(builder, candidate.row, row, mates[index])
            except RowError as caught:
                error = caught
        cards.append(Card(candidate, shown, None if error is None else str(error)))
    return cards


def summarize(cards: Sequence[Card], total: int, settings: PreviewSettings) -> str:
    """What is shown, counted: rows, their terms and why they lack some, errors."""
    shown = [card.shown for card in cards if card.shown is not None]
    errors = [card.error for card in cards if card.error is not None]
    lines = [f"{len(cards)} of {plural(total, 'row')}: {len(shown)} with views, {len(errors)} with an error"]
    for term in settings.vista.weights:
        reasons = Counter(row.off[term] for row in shown if term in row.off)
        without = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"  {term:<9}{len(shown) - reasons.total():>4}" + (f"  without it: {without}" if without else ""))
    lines += [f"  error: {error}" for error in errors]
    return "\n".join(lines)
