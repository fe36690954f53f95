"""Rows -> views -> sequences -> batch: everything a step asks of the model, as tensors.

A *sequence* is one answer on one view. Each distinct (view, answer) of a row is one sequence, however many terms use
it: nine answers over six views when a row has everything. A view that two rows of the micro-batch look at (one row's
video is its mate's unrelated one) is one view.

The batch, with S sequences and B rows:

| key | what |
|---|---|
| rows | int64 (B,): index of every row in its data set |
| where | the place of every row, as in `rows.jsonl:12 (id 7)` |
| skipped | [(place, reason)] of rows whose video broke while it was decoded (`vista_on_bad_row: skip`); not among the B |
| terms | for each term that is on: `row` int64 (R,), row within the batch, and `sequences` int64 (R, k), see `SCORED`; -1: none |
| sequences | S |
| names | (row within the batch, `view/answer`) of every sequence |
| reference | with a reference cache: its `log_probs` and `outside` float32 (S,), see `ReferenceScores`, and for each group its `hidden` (K, width) |
| views | for each distinct view what the family's processor makes of it |
| groups | what the model is fed, see `data.batches.groups` |
"""  # noqa: E501

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from llamafactory.data import MultiModalDataCollatorForSeq2Seq
from llamafactory.extras.constants import IGNORE_INDEX, IMAGE_PLACEHOLDER
from PIL import Image

from vistadpo_plugin.data.batches.blame import blaming
from vistadpo_plugin.data.batches.groups import Bundle, Sequence, packed_groups, same_beginning, separate_groups
from vistadpo_plugin.data.batches.known_scores import KnownScores, of_outside
from vistadpo_plugin.data.rows.lengths import needs_cutoff
from vistadpo_plugin.data.rows.processor import outside_phrases, own_media, rejected_weights
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.data.views.views import FULL, ViewBuilder, ViewRequest, row_terms, term_views

NO_SEQUENCE = -1

# What the host's collator gives beside the inputs that come of a view.
_OF_THE_ROW = ("input_ids", "attention_mask", "labels", "rope_deltas")
_PER_TOKEN = ("token_type_ids", "mm_token_type_ids", "cross_attention_mask")

SCORED = {
    "response": ("chosen", "rejected", "irrelevant"),
    "token": ("chosen", "rejected"),
}
"""Answers a term scores on its one view; the view terms score `chosen` on two views, preferred first. Where a row has a
list of rejected answers, the others of it come behind the three of the response term, whose `weights` float32
(R, k - 2) in a batch are those of `rejected` and of these others, 0 for none."""


def term_pairs(term: str, views: tuple[str, ...], answers: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The (view, answer) pairs that a term scores on its views, in the order of a batch's `sequences`.

    `answers` are those that the row has, as far as they may be more than `SCORED` names.
    """
    scored = SCORED.get(term, ("chosen",))
    if term == "response":
        scored += tuple(answer for answer in answers if answer not in scored)
    return [(view, answer) for view in views for answer in scored]


def _table(rows: list[list[Any]], empty: Any, dtype: torch.dtype, least: int) -> torch.Tensor:
    """(rows, k) of lists that may differ in length, at least `least` wide; `empty` where one ends early."""
    width = max(map(len, rows), default=least)
    filled = [row + [empty] * (width - len(row)) for row in rows]
    return torch.tensor(filled, dtype=dtype).reshape(-1, width)


@dataclass(frozen=True)
class Media:
    """What a view consists of: images and videos as the host's plugin takes them."""

    images: list[Any]
    videos: list[Any]


class _Batch:
    """What has been collected of a micro-batch so far."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.media: list[Media] = []
        self.sequences: list[Sequence] = []
        self.names: list[tuple[int, str]] = []
        self.term_rows: dict[str, list[int]] = defaultdict(list)
        self.term_sequences: dict[str, list[list[int]]] = defaultdict(list)
        self.weights: list[list[float]] = []  # of the response term
        self._known: dict[int, int] = {}

    def view(self, media: Media) -> int | None:
        """The number of a view; frames that are one object are one view."""
        if not media.images and not media.videos:
            return None
        key = id(media.videos[0] if media.videos else media.images[0])
        if key not in self._known:
            self._known[key] = len(self.media)
            self.media.append(media)
        return self._known[key]

    def places(self, numbers: list[int]) -> list[str]:
        """Where the rows of these sequences are; a decoy has none."""
        return [self.rows[self.names[number][0]]["where"] for number in numbers if number < len(self.names)]

    def term(self, term: str) -> dict[str, torch.Tensor]:
        """The rows of a term and what it scores in them."""
        least = len(SCORED.get(term, ("preferred view", "rejected view")))
        made = {
            "row": torch.tensor(self.term_rows[term], dtype=torch.long),
            "sequences": _table(self.term_sequences[term], NO_SEQUENCE, torch.long, least),
        }
        return made | ({"weights": _table(self.weights, 0.0, torch.float32, 1)} if term == "response" else {})

    @property
    def in_token_term(self) -> set[int]:
        return {number for numbers in self.term_sequences["token"] for number in numbers}


def host_features(prompt: list[int], answer: list[int], media: Media) -> dict[str, Any]:
    """One sequence as the host's own collator takes it."""
    return {
        "input_ids": prompt + answer,
        "attention_mask": [1] * len(prompt + answer),
        "labels": [IGNORE_INDEX] * len(prompt) + answer,
        "images": media.images,
        "videos": media.videos,
        "audios": [],
    }


@dataclass
class VistaCollator(MultiModalDataCollatorForSeq2Seq):
    """Build the batch described at the top of this file. `cutoff_len` is checked, never applied.

    A row whose video cannot be decoded is an error, or with `skip_bad_rows` noted in the batch and left out of it.
    With `sharing` sequences share their prefixes in packed rows of at most `row_tokens`, without it each is a row of
    its own. With a `cache` the batch brings what the reference says.
    """

    views: ViewBuilder | None = None
    cutoff_len: int = 0
    skip_bad_rows: bool = False
    sharing: bool = True
    row_tokens: int = 16384
    cache: KnownScores | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        # The model's word: the ids may hold other tokens than those a template's plugin names.
        kinds = ("image_token_id", "video_token_id")
        self.placeholders = {getattr(self.model.config, kind, None) for kind in kinds} - {None}

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        with blaming(row["where"] for row in features):
            return self._collate(features)

    def _collate(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        batch = _Batch()
        skipped: list[tuple[str, str]] = []
        requests = [self._request(row) for row in features]
        built = self.views.build_all([request for request in requests if request is not None])
        ready = iter(built)
        for row, request in zip(features, requests, strict=True):
            views = {}
            if request is not None:
                one = next(ready)
                row = self._after_errors(row, one.errors, skipped)
                views = one.views
            if row is not None:
                with blaming([row["where"]]):
                    self._add(batch, row, views)
        if not batch.media:
            self._add_decoy(batch, features[0])
        bundles, views = self._bundles(batch)
        if self.sharing:
            groups = packed_groups(batch.sequences, bundles, batch.in_token_term, self.row_tokens)
        else:
            groups = separate_groups(batch.sequences, bundles, batch.in_token_term, self.tokenizer.pad_token_id)
        made = {
            "rows": torch.tensor([row["index"] for row in batch.rows], dtype=torch.long),
            "where": [row["where"] for row in batch.rows],
            "skipped": skipped,
            "terms": {term: batch.term(term) for term in self.views.view_keys.terms},
            "sequences": len(batch.sequences),
            "names": batch.names,
            "views": views,
            "groups": groups,
        }
        if self.cache is not None:
            made["reference"] = self._reference(batch, groups)
        return made

    def _reference(self, batch: _Batch, groups: list[dict[str, Any]]) -> dict[str, Any]:
        """What the cache knows of the sequences."""
        wanted = defaultdict(list)
        places = [(place, *name.split("/")) for place, name in batch.names]
        for (place, view, answer), sequence in zip(places, batch.sequences, strict=False):  # no name: the decoy
            wanted[place, view] += [answer, of_outside(answer)] if sequence.outside else [answer]
        known = {
            (place, view): self.cache.read(batch.rows[place]["reference_keys"][view], answers)
            for (place, view), answers in wanted.items()
        }
        log_probs, outside = torch.zeros(2, len(batch.sequences))
        for number, (place, view, answer) in enumerate(places):
            log_probs[number] = known[place, view].log_probs[answer]
            if batch.sequences[number].outside:
                outside[number] = known[place, view].log_probs[of_outside(answer)]
        hidden = []
        for group in groups:
            answers = group["answers"]
            owners = answers["sequence"][answers["token_term"]].unique_consecutive().tolist()
            states = [known[place, view].hidden[answer] for place, view, answer in (places[one] for one in owners)]
            hidden.append(torch.cat(states) if states else torch.zeros(0, 0))
        return {"log_probs": log_probs, "outside": outside, "hidden": hidden}

    def _request(self, row: dict[str, Any]) -> ViewRequest | None:
        """The views the row's terms look at, None for a row without a video of its own to take them from."""
        grounding, mate = row["grounding"], row["mate"]
        if grounding is None:
            return None
        wanted = {view for pairs in self.scored(row).values() for view, _ in pairs if view is not None}
        return ViewRequest(grounding, mate, wanted, self.views.view_keys.magnitude(row["epoch"]))

    def scored(self, row: dict[str, Any]) -> dict[str, list[tuple[str | None, str]]]:
        """For each term of the row the (view, answer) pairs it scores; (None, answer): it has none that counts.

        A row may say which sequences are `wanted` of it, where a cache knows the others.
        """
        grounding, mate, wanted = row["grounding"], row["mate"], row.get("wanted")
        if grounding is None:
            terms = [term for term in self.views.view_keys.terms if term == "response"]
        else:
            terms = row_terms(grounding, mate is not None, self.views.view_keys)

        def has(answer: str) -> bool:
            return answer in row["answers"] and self.views.view_keys.scores(answer)

        scored = {}
        for term in terms:
            views = (FULL,) if grounding is None else term_views(grounding, term, self.views.view_keys)
            scored[term] = [
                (view if has(answer) and (wanted is None or f"{view}/{answer}" in wanted) else None, answer)
                for view, answer in term_pairs(term, views, row["answers"])
            ]
        return scored

    def _after_errors(
        self, row: dict[str, Any], errors: list[RowError], skipped: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """The row as far as its files can be read; with `vista_on_bad_row: skip` broken ones go into `skipped`.

        A row whose own video is broken is left out (None); one whose mate's is loses the terms that need the mate.
        """
        if errors and not self.skip_bad_rows:
            raise errors[0]
        for where, reason in dict.fromkeys((error.where, error.message) for error in errors):
            if (where, reason) not in skipped:
                skipped.append((where, reason))
            mate = row["mate"]
            if mate is None or where != mate.where:
                return None
        return {**row, "mate": None} if errors else row

    def _add(self, batch: _Batch, row: dict[str, Any], views: dict[str, Any]) -> None:
        """Add the row's distinct sequences, and for each of its terms the numbers of those it scores."""
        place = len(batch.rows)
        prompts: dict[str, list[int]] = {}
        known: dict[tuple[str | None, str], int] = {}
        outside = outside_phrases(row)
        # Once, as views are told apart by their media themselves.
        own = None if views else Media(own_media(row, "images"), own_media(row, "videos"))
        for term, pairs in self.scored(row).items():
            for view, answer in pairs:
                if (view, answer) in known:
                    continue
                if view is None:
                    known[view, answer] = NO_SEQUENCE
                    continue
                media = own or Media([], [views[view]])
                if view not in prompts:
                    prompts[view] = self._prompt_ids(row, media)
                known[view, answer] = len(batch.sequences)
                batch.sequences.append(
                    Sequence(prompts[view], row["answers"][answer], batch.view(media), outside.get(answer, frozenset()))
                )
                batch.names.append((place, f"{view}/{answer}"))
                self._check_length(row, batch.sequences[-1])
            batch.term_rows[term].append(place)
            batch.term_sequences[term].append([known[pair] for pair in pairs])
            if term == "response":
                batch.weights.append(rejected_weights(row))
        batch.rows.append(row)

    def _prompt_ids(self, row: dict[str, Any], media: Media) -> list[int]:
        prompt = json.loads(row["prompt"])
        plugin = self.template.mm_plugin
        messages = plugin.process_messages(prompt["messages"], media.images, media.videos, [], self.processor)
        # The template formats a whole turn; the answer is cut off again right here.
        turn = [{"role": "assistant", "content": self.tokenizer.decode(row["chosen_ids"], skip_special_tokens=True)}]
        ids, _ = self.template.encode_oneturn(self.tokenizer, messages + turn, prompt["system"], prompt["tools"])
        ids, _ = plugin.process_token_ids(ids, None, media.images, media.videos, [], self.tokenizer, self.processor)
        return ids

    def _check_length(self, row: dict[str, Any], sequence: Sequence) -> None:
        needed = len(sequence.prompt_ids) + len(sequence.answer_ids)
        if needed > self.cutoff_len:
            raise RowError(row["where"], needs_cutoff(needed, self.cutoff_len))

    def _add_decoy(self, batch: _Batch, row: dict[str, Any]) -> None:
        """An answer that no term scores, where nothing is left to look at.

        Ranks wait for each other: none may leave out the vision tower (the host adds the same white picture), and none
        the language model.
        """
        plugin = self.template.mm_plugin
        media, prompt = Media([], []), []
        if plugin.image_token is not None:
            media = Media([Image.new("RGB", (64, 64), "white")], [])
            messages = [{"role": "user", "content": IMAGE_PLACEHOLDER}]
            messages = plugin.process_messages(messages, media.images, [], [], self.processor)
            prompt = self.tokenizer.encode(messages[0]["content"], add_special_tokens=False)
            prompt, _ = plugin.process_token_ids(prompt, None, media.images, [], [], self.tokenizer, self.processor)
        batch.sequences.append(Sequence(prompt, row["chosen_ids"], batch.view(media)))

    def _bundles(self, batch: _Batch) -> tuple[list[Bundle], list[dict[str, Any]]]:
        """Sequences that begin alike, with what the host's collator makes of each view."""
        views: list[dict[str, Any]] = [{} for _ in batch.media]
        bundles = []
        for (view, prefix, before), numbers in same_beginning(batch.sequences, self.placeholders).items():
            longest = max((batch.sequences[number].input_ids for number in numbers), key=len)
            if view is None:
                positions = torch.arange(len(longest)).unsqueeze(0)
            else:
                with blaming(batch.places(numbers)):
                    positions, views[view] = self._host_inputs(longest, batch.media[view])
            bundles.append(Bundle(numbers, view, prefix, before, positions))
        return bundles, views

    def _host_inputs(self, ids: list[int], media: Media) -> tuple[torch.Tensor, dict[str, Any]]:
        """Position ids of a sequence, and what the family's model takes beside it."""
        inputs = super().__call__([host_features(ids, [], media)])
        for name in _PER_TOKEN:
            if name in inputs:
                raise ValueError(
                    f"{type(self.template.mm_plugin).__name__} gives `{name}`, which `stage: vistadpo` does not know."
                )
        positions = inputs.pop("position_ids", torch.arange(len(ids)).unsqueeze(0))[..., : len(ids)]
        return positions, {name: value for name, value in inputs.items() if name not in _OF_THE_ROW}
