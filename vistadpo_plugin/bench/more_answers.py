"""Rows with a fourth and a fifth rejected answer on the full video: scored with the others, in no term."""

from __future__ import annotations

from typing import Any

from vistadpo_plugin.data.batches.collator import VistaCollator, _Batch
from vistadpo_plugin.data.batches.groups import Sequence
from vistadpo_plugin.data.views.views import FULL


class FourAnswers(VistaCollator):
    more = 1

    def _add(self, batch: _Batch, row: dict[str, Any], views: dict[str, Any]) -> None:
        first = len(batch.sequences)
        super()._add(batch, row, views)
        chosen = batch.sequences[first]
        place = len(batch.rows) - 1
        for turn in range(1, self.more + 1):
            words, end = chosen.answer_ids[:-1], chosen.answer_ids[-1:]
            answer = words[-turn:] + words[:-turn] + end  # as long as the chosen one, and another from its first word
            batch.sequences.append(Sequence(chosen.prompt_ids, answer, chosen.view))
            batch.names.append((place, f"{FULL}/more_{turn}"))


class FiveAnswers(FourAnswers):
    more = 2
