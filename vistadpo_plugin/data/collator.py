"""Rows -> views -> sequences -> batch: everything a step asks of the model, as tensors.

A *sequence* is one answer on one view. Each distinct (view, answer) of a row is one sequence, however many terms use it:
nine answers over six views when a row has everything. Sequences whose visual inputs stack (as many frames) share a
*group*, one forward of the model.

The batch, with S sequences and B rows:

| key | what |
|---|---|
| rows | int64 (B,): index of every row in its data set |
| skipped | [(place, reason)] of rows whose video broke while it was decoded (`vista_on_bad_row: skip`); not among the B |
| terms | for each term that is on: `row` int64 (R,), row within the batch, and `sequences` int64 (R, k), see `SCORED` |
| groups | list of model inputs: `sequence` int64 (G,), `labels` int64 (G, L) (-100 outside the answer), and what the family's model takes |
"""  # noqa: E501

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from llamafactory.data import MultiModalDataCollatorForSeq2Seq
from llamafactory.extras.constants import IGNORE_INDEX

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.lengths import needs_cutoff
from vistadpo_plugin.data.rows import RowError
from vistadpo_plugin.data.views import FULL, ViewBuilder, row_terms, term_views

NO_SEQUENCE = -1

SCORED = {
    "response": ("chosen", "rejected", "irrelevant"),
    "token": ("chosen", "rejected"),
}
"""Answers a term scores on its one view; the view terms score `chosen` on two views, preferred first."""


def _width(term: str) -> int:
    """Sequences a term scores in a row."""
    return len(SCORED.get(term, ("preferred view", "rejected view")))


@dataclass
class Sequence:
    """One answer on one view, or on a row's own media."""

    prompt_ids: list[int]
    answer_ids: list[int]
    images: list[Any]
    videos: list[Any]

    @property
    def stack_key(self) -> tuple:
        """Sequences with the same key have visual inputs of the same shape."""
        return len(self.images) > 0, tuple(len(video) if isinstance(video, list) else 0 for video in self.videos)

    def features(self) -> dict[str, Any]:
        """What the host's collator takes."""
        ids = self.prompt_ids + self.answer_ids
        return {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "labels": [IGNORE_INDEX] * len(self.prompt_ids) + self.answer_ids,
            "images": self.images,
            "videos": self.videos,
            "audios": [],
        }


@dataclass
class VistaCollator(MultiModalDataCollatorForSeq2Seq):
    """Build the batch described at the top of this file. `cutoff_len` is checked, never applied."""

    vista: VistaArguments | None = None
    views: ViewBuilder | None = None
    cutoff_len: int = 0

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        sequences: list[Sequence] = []
        indices: list[int] = []
        skipped: list[tuple[str, str]] = []
        rows: dict[str, list[int]] = defaultdict(list)
        scored: dict[str, list[list[int]]] = defaultdict(list)
        for row in features:
            made = self._usable_sequences(row, len(sequences), skipped)
            if made is None:
                continue
            new, numbers_of_terms = made
            sequences += new
            for term, numbers in numbers_of_terms.items():
                rows[term].append(len(indices))
                scored[term].append(numbers)
            indices.append(row["index"])
        if not sequences:
            # No row is left, but ranks wait for each other: one answer that no term scores keeps the step whole.
            sequences.append(Sequence([], features[0]["chosen_ids"], [], []))
        return {
            "rows": torch.tensor(indices, dtype=torch.long),
            "skipped": skipped,
            "terms": {
                term: {
                    "row": torch.tensor(rows[term], dtype=torch.long),
                    "sequences": torch.tensor(scored[term], dtype=torch.long).reshape(-1, _width(term)),
                }
                for term in self.vista.terms
            },
            "groups": self._groups(sequences),
        }

    def _usable_sequences(
        self, row: dict[str, Any], first: int, skipped: list[tuple[str, str]]
    ) -> tuple[list[Sequence], dict[str, list[int]]] | None:
        """As `_row_sequences`; with `vista_on_bad_row: skip` a broken video goes into `skipped` instead of raising.

        A row whose own video is broken is left out (None); one whose mate's is loses the terms that need the mate.
        """
        try:
            return self._row_sequences(row, first)
        except RowError as error:
            if self.vista.vista_on_bad_row == "error":
                raise
            skipped.append((error.where, error.message))
            mate = row["mate"]
            if mate is None or error.where != mate.where:
                return None
        return self._usable_sequences({**row, "mate": None}, first, skipped)

    def _row_sequences(self, row: dict[str, Any], first: int) -> tuple[list[Sequence], dict[str, list[int]]]:
        """The row's distinct sequences, numbered from `first`, and for each of its terms the numbers it scores."""
        grounding, mate = row["grounding"], row["mate"]
        if grounding is None:
            terms, views = [term for term in self.vista.terms if term == "response"], {}
        else:
            terms = row_terms(grounding, mate is not None, self.vista)
            wanted = {view for term in terms for view in term_views(grounding, term, self.vista)}
            views = self.views.build(grounding, mate, wanted)
        sequences: list[Sequence] = []
        prompts: dict[str, list[int]] = {}
        known: dict[tuple[str, str], int] = {}

        def number(view: str, answer: str) -> int:
            if not row[f"{answer}_ids"]:
                return NO_SEQUENCE
            if (view, answer) not in known:
                images, videos = (
                    (row["images"] or [], row["videos"] or []) if grounding is None else ([], [views[view]])
                )
                if view not in prompts:
                    prompts[view] = self._prompt_ids(row, images, videos)
                known[view, answer] = first + len(sequences)
                sequences.append(Sequence(prompts[view], row[f"{answer}_ids"], images, videos))
                self._check_length(row, sequences[-1])
            return known[view, answer]

        numbers = {}
        for term in terms:
            on = (FULL,) if grounding is None else term_views(grounding, term, self.vista)
            numbers[term] = [number(view, answer) for view in on for answer in SCORED.get(term, ("chosen",))]
        return sequences, numbers

    def _prompt_ids(self, row: dict[str, Any], images: list[Any], videos: list[Any]) -> list[int]:
        prompt = json.loads(row["prompt"])
        plugin = self.template.mm_plugin
        messages = plugin.process_messages(prompt["messages"], images, videos, [], self.processor)
        # The template formats a whole turn; the answer is cut off again right here.
        turn = [{"role": "assistant", "content": self.tokenizer.decode(row["chosen_ids"], skip_special_tokens=True)}]
        ids, _ = self.template.encode_oneturn(self.tokenizer, messages + turn, prompt["system"], prompt["tools"])
        ids, _ = plugin.process_token_ids(ids, None, images, videos, [], self.tokenizer, self.processor)
        return ids

    def _check_length(self, row: dict[str, Any], sequence: Sequence) -> None:
        needed = len(sequence.prompt_ids) + len(sequence.answer_ids)
        if needed > self.cutoff_len:
            raise RowError(row["where"], needs_cutoff(needed, self.cutoff_len))

    def _groups(self, sequences: list[Sequence]) -> list[dict[str, Any]]:
        stacks: dict[tuple, list[int]] = defaultdict(list)
        for number, sequence in enumerate(sequences):
            stacks[sequence.stack_key].append(number)
        groups = []
        for numbers in stacks.values():
            inputs = super().__call__([sequences[number].features() for number in numbers])
            groups.append({"sequence": torch.tensor(numbers), **inputs})
        return groups
