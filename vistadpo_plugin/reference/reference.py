"""The frozen side: the policy with its adapter off, a second model, or what a cache knows of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vistadpo_plugin.scoring.randomness import evaluating
from vistadpo_plugin.scoring.scorer import ReferenceScores, Scorer
from vistadpo_plugin.scoring.sharded import adapter_off, same_weights
from vistadpo_plugin.scoring.view_features import Encoded


class Reference:
    """Scores batches with the reference, without gradients and without anything that is random in training.

    `unwrapped` is the policy below its wrappers and `scorer` its scorer; `ref_model` the second model, or None for "the
    policy with its adapter off". `head` is the reference's output head where no second model was loaded because a cache
    knows all it would say.
    """

    def __init__(
        self,
        unwrapped: Any,
        scorer: Scorer,
        ref_model: Any | None,
        ref_unwrapped: Any | None,
        head: torch.nn.Module | None = None,
    ):
        self.unwrapped = unwrapped
        self.ref_model = ref_model
        own = ref_model is None or ref_unwrapped is unwrapped
        self.scored = unwrapped if own else ref_unwrapped
        self.scorer = scorer if own else Scorer(ref_unwrapped, scorer.in_step)
        self.head = self._head(scorer) if head is None else head
        # Another model may see through another tower.
        self.shares_views = own or same_weights(scorer.features.parameters(), self.scorer.features.parameters())

    def __call__(self, model: Any, batch: dict[str, Any], encoded: Encoded) -> ReferenceScores:
        """`model` is the (wrapped) policy; `encoded` the batch's views as far as they are encoded."""
        if "reference" in batch:
            return ReferenceScores(**batch["reference"], head=self.head)
        with torch.no_grad(), self._adapter_off(), evaluating(self.scored):
            scores = self.scorer(
                model if self.ref_model is None else self.ref_model,
                batch,
                encoded if self.shares_views else Encoded(),
            )
        outside = scores.singly.sum_outside(scores.singly.log_probs, batch["sequences"])
        return ReferenceScores(scores.log_probs, outside, scores.hidden, self.head)

    def _adapter_off(self) -> AbstractContextManager:
        return adapter_off(self.unwrapped) if self.ref_model is None else nullcontext()

    def _head(self, policy: Scorer) -> Callable[[Tensor], Tensor] | None:
        if self.scorer is not policy:
            return self.scorer.head.head
        if self.ref_model is not None or not any(p.requires_grad for p in policy.head.head.parameters()):
            return None

        def head(hidden: Tensor) -> Tensor:
            with self._adapter_off():
                return policy.head.full(hidden)

        return head
