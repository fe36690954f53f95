"""What a step asks of the model, counted on the very packing that training uses, and held against plain DPO's.

A typical row with every kind of grounding is laid out as sequences of stand-in tokens: the terms and views are those of
`data.views.views`, the packing is that of `data.batches.groups`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.batches.collator import term_pairs
from vistadpo_plugin.data.batches.groups import Bundle, Sequence, packed_groups, same_beginning, separate_groups
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME,
    KEYFRAME_NEGATIVE,
    TERM_OF,
    VIDEO_NEGATIVE,
    needs_mate,
    row_terms,
    term_views,
)
from vistadpo_plugin.recipe_check.model import ModelShape
from vistadpo_plugin.recipe_check.tokens import CLIP_VIEW, FULL_VIEW, KEYFRAME_VIEW, Texts, View

KIND = {
    FULL: FULL_VIEW, VIDEO_NEGATIVE: FULL_VIEW, CLIP: CLIP_VIEW, CLIP_NEGATIVE: CLIP_VIEW,
    KEYFRAME: KEYFRAME_VIEW, KEYFRAME_NEGATIVE: KEYFRAME_VIEW,
}  # fmt: skip
_MOST_ROWS = 8
FULL_ROW = GroundedRow("", "", "video", clip_images=("",), clip_negative_images=("",))
_OWN_ROW = dataclasses.replace(FULL_ROW, rejected_videos=("",), rejected_clips=("",), rejected_keyframes=("",))


@dataclass(frozen=True)
class Work:
    """Of one row: `answers` scored, `views` decoded for it, `encodes` of the tower, answer `tokens`, `positions` of the
    language model in one forward, and those of the `longest` group of a micro-batch; `rows` were laid out."""

    answers: int
    views: int
    encodes: float
    tokens: float
    positions: float
    longest: int
    rows: int


def scored(vista: VistaArguments, answers: Iterable[str] = ()) -> dict[str, list[tuple[str, str]]]:
    """For each term the (view, answer) pairs that a row with every kind of grounding, and these answers, scores."""
    view_keys = ViewKeys.of(vista)
    terms = row_terms(FULL_ROW, True, view_keys)
    pairs = {term: term_pairs(term, term_views(FULL_ROW, term, view_keys), answers) for term in terms}
    return {term: [pair for pair in found if view_keys.scores(pair[1])] for term, found in pairs.items()}


def work_of(
    vista: VistaArguments, views: dict[str, View], texts: Texts, batch: int, most: int, own: bool = False
) -> Work:
    """Lay out a micro-batch of `batch` rows, as prefix trees in rows of `most` tokens or one row an answer.

    `own`: the rows bring their rejected views, so that none is a video of its mate.
    """
    batch, view_keys = min(batch, _MOST_ROWS), ViewKeys.of(vista)
    answers = texts.answers
    pairs = list(dict.fromkeys(pair for found in scored(vista, answers).values() for pair in found))
    numbers: dict[Any, int] = {}
    sequences = []
    if not answers["irrelevant"]:
        pairs = [pair for pair in pairs if pair[1] != "irrelevant"]
    for row in range(batch):
        for view, answer in pairs:
            number = numbers.setdefault(_shown(row, view, view_keys, views, batch, own), len(numbers))
            start = 1_000_000 * (row + 1)
            # The token 0 stands for what is seen; all else that rows do not share is a number of its own.
            prompt = [*range(1, texts.before + 1), *[0] * views[KIND[view]].tokens]
            prompt += range(start, start + texts.after)
            place = start + 10_000 * (1 + list(answers).index(answer))
            sequences.append(Sequence(prompt, list(range(place, place + answers[answer])), number))
    bundles = [
        Bundle(members, view, prefix, before, torch.arange(max(len(sequences[n].input_ids) for n in members))[None])
        for (view, prefix, before), members in same_beginning(sequences, {0}).items()
    ]
    if vista.vista_prefix_sharing:
        groups = packed_groups(sequences, bundles, set(), most)
    else:
        groups = separate_groups(sequences, bundles, set(), 0)
    sizes = [group["input_ids"].numel() for group in groups]
    tokens = sum(len(sequence.answer_ids) for sequence in sequences)
    shown = len({view for view, _ in pairs})
    return Work(len(pairs), shown, len(numbers) / batch, tokens / batch, sum(sizes) / batch, max(sizes), batch)


def _shown(row: int, view: str, view_keys: ViewKeys, views: dict[str, View], batch: int, own: bool) -> Any:
    """What a view shows: another row's video is that row's own view where the two share the micro-batch."""
    mate = row ^ 1
    if view == FULL:
        return "video", row, views[FULL_VIEW].frames
    other = view in TERM_OF and needs_mate(_OWN_ROW if own else FULL_ROW, TERM_OF[view], view_keys)
    return ("video", mate if mate < batch else (row, "mate"), views[KIND[view]].frames) if other else (row, view)


def plain_work(views: dict[str, View], texts: Texts) -> Work:
    """The host's plain DPO: two answers on the full video, one row each."""
    length = texts.before + views[FULL_VIEW].tokens + texts.after + max(texts.chosen, texts.rejected)
    return Work(2, 1, 2, 2 * length, 2 * length, 2 * length, 1)


@dataclass(frozen=True)
class Cost:
    """Multiplications of a row in units of a position through all layers: policy and reference."""

    policy: float
    reference: float

    @property
    def total(self) -> float:
        return self.policy + self.reference


def cost_of(work: Work, shape: ModelShape | None, backward: int, again: float, reference: bool) -> Cost:
    """Matrix products of the decoder layers, and of the output head at the positions that reach it.

    A forward is 1; the backward pass `backward` of that (1 where the weights are frozen, else 2); `again` is the share
    of the layers that gradient checkpointing runs once more. The head, never checkpointed, is left out without a shape.
    """
    head = 0.0 if shape is None else shape.vocabulary * shape.hidden / (shape.layers * shape.layer)
    policy = work.positions * (1 + again + backward) + work.tokens * head * (1 + backward)
    return Cost(policy, (work.positions + work.tokens * head) * reference)


def without_sharing(vista: VistaArguments) -> VistaArguments:
    """The same keys with one row an answer."""
    changed = {item.name: getattr(vista, item.name) for item in dataclasses.fields(VistaArguments)}
    return VistaArguments(**{**changed, "vista_prefix_sharing": False})
