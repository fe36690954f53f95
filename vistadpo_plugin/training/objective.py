"""Scores of policy and reference -> the terms of each row: the one place where `losses` meets a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.scoring.scorer import Scores
from vistadpo_plugin.training import losses


@dataclass
class TermResult:
    """One term over the R rows of a batch that have it: `row` (row within the batch), `loss`, `margin`, all (R,).

    `extra` holds further per-row figures to log, by their logged name.
    """

    row: Tensor
    loss: Tensor
    margin: Tensor
    extra: dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """The hyper-parameters that turn scores into losses; `beta`, `kind` and `label_smoothing` are the host's.

    `weights` are those of the terms, 0 for one that is off; the others are keys of `VistaArguments`.
    """

    weights: dict[str, float]
    relevant_weight: float
    irrelevant_weight: float
    token_loss: str
    token_alpha: float
    beta: float
    kind: str
    label_smoothing: float

    @classmethod
    def of(cls, vista: VistaArguments, beta: float, kind: str, label_smoothing: float) -> Objective:
        """The objective of a recipe."""
        return cls(
            vista.weights,
            vista.vista_relevant_weight,
            vista.vista_irrelevant_weight,
            vista.vista_token_loss,
            vista.vista_token_alpha,
            beta,
            kind,
            label_smoothing,
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that are on."""
        return tuple(term for term, weight in self.weights.items() if weight > 0)

    def __call__(self, policy: Scores, reference: Tensor, batch: dict[str, Any]) -> dict[str, TermResult]:
        """Every term that is on, in the order of `arguments.TERMS`, over the rows that have it.

        `reference` float32 (S,): the reference's log-probabilities of the sequences.
        """
        delta = policy.log_probs - reference
        pairwise = delta / policy.tokens if self.kind == "ipo" else delta
        results = {}
        for term, scored in batch["terms"].items():
            row, sequences = scored["row"], scored["sequences"]
            if term == "response":
                results[term] = self._response(row, sequences, pairwise, policy.log_probs)
            elif term == "token":
                results[term] = self._token(row, sequences, delta, policy.kl)
            else:
                margin = losses.view_margin(pairwise[sequences[:, 0]], pairwise[sequences[:, 1]])
                results[term] = TermResult(row, self._pairwise_loss(margin), margin, {})
        return results

    def total(self, results: dict[str, TermResult], batch: int) -> Tensor:
        """Loss of every row of the batch, Eq. 14: (batch,)."""
        return losses.total_loss(
            {term: result.loss for term, result in results.items()},
            {term: result.row for term, result in results.items()},
            self.weights,
            batch,
        )

    def _pairwise_loss(self, margin: Tensor) -> Tensor:
        return losses.preference_loss(margin, self.beta, self.kind, self.label_smoothing)

    def _response(self, row: Tensor, sequences: Tensor, delta: Tensor, log_probs: Tensor) -> TermResult:
        chosen, rejected, irrelevant = sequences.unbind(dim=1)
        margin = losses.response_margin(
            delta[chosen],
            delta[rejected],
            delta[irrelevant.clamp(min=0)],
            irrelevant >= 0,
            self.relevant_weight,
            self.irrelevant_weight,
        )
        extra = {
            "rewards/chosen": self.beta * delta[chosen],
            "rewards/rejected": self.beta * (delta[chosen] - margin),
            "rewards/accuracies": (margin > 0).float(),
            "rewards/margins": self.beta * margin,
            # Not relative to the reference: a margin may grow while the chosen answer itself becomes unlikelier.
            "vista/chosen_logps": log_probs[chosen],
        }
        return TermResult(row, self._pairwise_loss(margin), margin, extra)

    def _token(self, row: Tensor, sequences: Tensor, delta: Tensor, kl: Tensor) -> TermResult:
        chosen, rejected = sequences.unbind(dim=1)
        kl_w, kl_re = kl[chosen], kl[rejected]
        if self.token_loss == "kl":
            margin = losses.kl_difference(kl_w, kl_re)
            loss = losses.token_kl_loss(kl_w, kl_re, self.beta)
        else:
            margin = losses.token_margin(delta[chosen], delta[rejected], kl_w, kl_re, self.token_alpha)
            loss = losses.token_loss(margin, self.beta)
        return TermResult(row, loss, margin, {"vista/kl_chosen": kl_w, "vista/kl_rejected": kl_re})
