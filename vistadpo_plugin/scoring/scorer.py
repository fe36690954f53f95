"""Batch -> log-probabilities: what a model says of every answer on every view.

How answers share rows is the batch's business (`data.batches.groups`); here a group is one forward of the wrapped
model, in which the vision tower is asked once a view and the output head looks at answer positions only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vistadpo_plugin.scoring.answer_head import AnswerHead, AnswerRequest
from vistadpo_plugin.scoring.fast.last_layer import LastLayer
from vistadpo_plugin.scoring.randomness import drawing_nothing
from vistadpo_plugin.scoring.sharded import Agreement, Work, agree
from vistadpo_plugin.scoring.view_features import Encoded, Evenly, ViewFeatures


@dataclass
class AnswerTokens:
    """The N answer tokens of a batch: `log_probs` float32 (N,), the `sequence` int64 (N,) each belongs to, its `place`
    int64 (N,) there, from 0, and whether it is `outside` bool (N,) of the phrases that are marked in its answer."""

    log_probs: Tensor
    sequence: Tensor
    place: Tensor
    outside: Tensor

    def sum_outside(self, values: Tensor, sequences: int) -> Tensor:
        """Sums (S,) of `values` (N,) over the tokens outside of phrases; 0 for answers without phrases."""
        return values.new_zeros(sequences).index_add(0, self.sequence, torch.where(self.outside, values, 0))


@dataclass
class Scores:
    """One model's view of the S sequences of a batch.

    `log_probs` float32 (S,): sum over answer tokens of log p(token), in nats; `tokens` int64 (S,): answer tokens,
    end-of-sequence included; `kl` float32 (S,): D = sum over answer positions of KL(reference || policy) for the
    sequences of the token term, 0 for the others and where no reference was given; `hidden`: for each group the hidden
    states (K, width) from which the head makes the distributions at the answer positions of the token term; `singly`:
    what `log_probs` are the sums of.
    """

    log_probs: Tensor
    tokens: Tensor
    kl: Tensor
    hidden: list[Tensor]
    singly: AnswerTokens


@dataclass
class ReferenceScores:
    """What the objective needs of the reference.

    `log_probs` float32 (S,), and what tokens `outside` of phrases have in them, float32 (S,); `hidden` as in `Scores`;
    `head` makes logits of them (None: the policy's own head, which is frozen).
    """

    log_probs: Tensor
    outside: Tensor
    hidden: list[Tensor]
    head: Callable[[Tensor], Tensor] | None


class Scorer:
    """Scores batches with one model; `model` is what lies below all wrappers.

    With `in_step` all ranks score together, and each runs the model and its tower as often as every other.
    """

    def __init__(self, model: torch.nn.Module, in_step: bool = False):
        self.in_step = in_step
        self.features = ViewFeatures(model)
        layers = getattr(model.get_decoder(), "layers", None)
        if layers is not None and hasattr(layers[-1], "mlp"):
            LastLayer(layers[-1])
        self.head = AnswerHead(model.get_output_embeddings(), model.config.get_text_config().vocab_size)

    def __call__(
        self, model: Any, batch: dict[str, Any], encoded: Encoded, reference: ReferenceScores | None = None
    ) -> Scores:
        """Score all sequences of a batch (see `data.batches.collator`) with `model`, which may be wrapped.

        `encoded` holds the features of the batch's views that are known, and takes up those that become known.
        """
        sums = torch.zeros(2, batch["sequences"], device=batch["groups"][0]["input_ids"].device)
        tokens = torch.zeros_like(sums[0], dtype=torch.long)
        hidden, singly = [], []
        agreement = agree(self._work(batch, encoded)) if self.in_step else None
        for number, group in enumerate(batch["groups"]):
            request, answers = _request(group), group["answers"]
            if reference is not None:
                request.reference, request.reference_head = reference.hidden[number], reference.head
            per_token = self._forward(model, batch["views"], group, encoded, request, _share(agreement, number))
            hidden.append(request.hidden)
            singly.append((per_token[0], answers["sequence"], answers["place"], answers["outside"]))
            sums = sums.index_add(1, answers["sequence"], per_token)
            tokens = tokens.index_add(0, answers["sequence"], torch.ones_like(answers["sequence"]))
        if agreement is not None:
            for number in range(len(batch["groups"]), len(agreement.forwards)):
                group = _spare(batch)
                per_token = self._forward(
                    model, batch["views"], group, encoded, _request(group), _share(agreement, number)
                )
                sums = sums + per_token.sum() * 0  # in the graph, as the other ranks run theirs backwards as well
        return Scores(sums[0], tokens, sums[1], hidden, AnswerTokens(*map(torch.cat, zip(*singly, strict=True))))

    def _work(self, batch: dict[str, Any], encoded: Encoded) -> Work:
        """What this rank has to do for a batch; views once encoded stay known only to a frozen tower."""
        features, views, spare = self.features, batch["views"], _spare(batch)
        known = set(encoded.features) if features.frozen else set()
        forwards, of_spare = [], {}
        for group in batch["groups"]:
            unknown = features.unknown(views, group["views"], known)
            forwards.append({method: len(numbers) for method, numbers in unknown.items()})
            if features.frozen:
                known |= {(method, number) for method, numbers in unknown.items() for number in numbers}
            elif group is spare:
                of_spare = forwards[-1]
        return Work(forwards, of_spare, features.examples(views))

    def _forward(
        self,
        model: Any,
        views: list[dict[str, Any]],
        group: dict[str, Any],
        encoded: Encoded,
        request: AnswerRequest,
        evenly: Evenly | None,
    ) -> Tensor:
        """(2, N) of `AnswerHead` for the N answer tokens of a group."""
        order = group["views"]
        # The tower is asked through `ViewFeatures`; the first view of each kind makes the model ask.
        inputs = {name: value for number in reversed(order) for name, value in views[number].items()}
        inputs |= {name: value for name, value in group.items() if name not in ("answers", "views")}
        with (
            drawing_nothing(group["input_ids"].device) if "forest" in group else nullcontext(),
            self.head.answering(request),
            self.features.showing(views, order, encoded, evenly),
        ):
            logits = model(**inputs, use_cache=False, return_dict=True).logits
        if not request.is_unchanged(logits):
            raise ValueError(
                f"{type(model).__name__} changes what its output head returns, so its answers cannot be scored."
            )
        return logits


def _request(group: dict[str, Any]) -> AnswerRequest:
    answers = group["answers"]
    return AnswerRequest(**{name: answers[name] for name in ("row", "column", "token", "token_term", "others")})


def _spare(batch: dict[str, Any]) -> dict[str, Any]:
    """The group that is cheapest to run once more."""
    return min(batch["groups"], key=lambda group: group["input_ids"].numel())


def _share(agreement: Agreement | None, number: int) -> Evenly | None:
    return None if agreement is None else Evenly(agreement.forwards[number], agreement.examples)
