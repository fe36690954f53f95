"""Scores of policy and reference -> the terms of each row: the one place where `losses` meets a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.scoring.scorer import ReferenceScores, Scores
from vistadpo_plugin.training import losses

SFT_LOSS = "vista/sft_loss"
"""-log p(y_w|v) a token, which `pref_ftx` adds to a row's loss; logged where it does."""


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
    """The hyper-parameters that turn scores into losses.

    `weights` are those of the terms, 0 for one that is off. `beta`, `label_smoothing`, `ftx` and `ld_alpha` are the
    host's `pref_beta`, `dpo_label_smoothing`, `pref_ftx` and `ld_alpha`; `kind` names the pairwise loss, see
    `losses.preference_loss`. `outside` is the weight of tokens outside of an answer's phrases, where it has any. The
    others are keys of `VistaArguments`.
    """

    weights: dict[str, float]
    relevant_weight: float
    irrelevant_weight: float
    token_loss: str
    token_alpha: float
    beta: float
    kind: str
    label_smoothing: float
    ftx: float = 0.0
    ld_alpha: float | None = None
    outside: float = 1.0

    @classmethod
    def of(
        cls,
        vista: VistaArguments,
        beta: float,
        kind: str,
        label_smoothing: float,
        ftx: float = 0.0,
        ld_alpha: float | None = None,
    ) -> Objective:
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
            ftx,
            ld_alpha,
            vista.vista_outside_phrases,
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that are on."""
        return tuple(term for term, weight in self.weights.items() if weight > 0)

    def __call__(self, policy: Scores, reference: ReferenceScores, batch: dict[str, Any]) -> dict[str, TermResult]:
        """Every term that is on, in the order of `arguments.TERMS`, over the rows that have it."""
        outside, tokens = self._outside_phrases(policy, reference)
        results = {}
        for term, scored in batch["terms"].items():
            row, sequences = scored["row"], scored["sequences"]
            log_probs = self._policy_log_probs(term, policy, sequences)
            delta = log_probs - reference.log_probs
            if term == "token":
                results[term] = self._token(row, sequences, delta, policy.kl)
                continue
            delta = delta - outside
            if self.kind == "ipo":
                delta = delta / tokens
            if term == "response":
                results[term] = self._response(row, sequences, scored["weights"], delta, policy, log_probs)
            else:
                results[term] = self._pairwise(row, delta[sequences[:, 0]], delta[sequences[:, 1]], {})
        return results

    def _outside_phrases(self, policy: Scores, reference: ReferenceScores) -> tuple[Tensor | float, Tensor]:
        """What phrases take off the log-ratios of answers, (S,), and how many tokens are left in them, (S,).

        A token outside weighs `outside` where it weighed 1, so that much less of it is in the log-ratio.
        """
        if self.outside == 1:
            return 0.0, policy.tokens
        singly, sequences = policy.singly, len(policy.tokens)
        delta = singly.sum_outside(singly.log_probs, sequences) - reference.outside
        tokens = singly.sum_outside(torch.ones_like(singly.log_probs), sequences)
        return (1 - self.outside) * delta, policy.tokens - (1 - self.outside) * tokens

    def _policy_log_probs(self, term: str, policy: Scores, sequences: Tensor) -> Tensor:
        """log p (S,) as the term takes it: with `ld_alpha` what is longer than its shortest answer counts less.

        As in the host the reference's stays whole. A view term compares one answer with itself: nothing is longer.
        """
        if self.ld_alpha is None or term not in ("response", "token"):
            return policy.log_probs
        public = losses.public_lengths(policy.tokens, sequences)
        singly = policy.singly
        surplus = losses.surplus(singly.log_probs, singly.sequence, singly.place, public)
        return policy.log_probs - (1 - self.ld_alpha) * surplus

    def total(self, results: dict[str, TermResult], batch: int) -> Tensor:
        """Loss of every row of the batch, Eq. 14: (batch,)."""
        total = losses.total_loss(
            {term: result.loss for term, result in results.items()},
            {term: result.row for term, result in results.items()},
            self.weights,
            batch,
        )
        if self.ftx > 0:
            response = results["response"]
            total = total.index_add(0, response.row, self.ftx * response.extra[SFT_LOSS])
        return total

    def _pairwise(self, row: Tensor, preferred: Tensor, dispreferred: Tensor, extra: dict[str, Tensor]) -> TermResult:
        loss = losses.preference_loss(preferred, dispreferred, self.beta, self.kind, self.label_smoothing)
        return TermResult(row, loss, preferred - dispreferred, extra)

    def _response(
        self, row: Tensor, sequences: Tensor, weights: Tensor, delta: Tensor, policy: Scores, log_probs: Tensor
    ) -> TermResult:
        chosen, irrelevant = sequences[:, 0], sequences[:, 2]
        rejected = torch.cat([sequences[:, 1:2], sequences[:, 3:]], dim=1)
        preferred = delta[chosen]
        dispreferred = losses.rejected_ratio(
            delta[rejected.clamp(min=0)],
            weights,
            delta[irrelevant.clamp(min=0)],
            irrelevant >= 0,
            self.relevant_weight,
            self.irrelevant_weight,
        )
        margin = preferred - dispreferred
        extra = {
            "rewards/chosen": self.beta * preferred,
            "rewards/rejected": self.beta * dispreferred,
            "rewards/accuracies": (margin > 0).float(),
            "rewards/margins": self.beta * margin,
            # Not relative to the reference: a margin may grow while the chosen answer itself becomes unlikelier.
            "vista/chosen_logps": policy.log_probs[chosen],
        }
        if self.ftx > 0:
            # As in the host: weighed by `ld_alpha`, over all tokens of the answer.
            extra[SFT_LOSS] = -log_probs[chosen] / policy.tokens[chosen]
        return self._pairwise(row, preferred, dispreferred, extra)

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
