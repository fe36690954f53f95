"""The five terms of VistaDPO as pure functions of tensors (Huang et al., ICML 2025, arXiv 2504.13122).

Notation of the paper: Delta(y|view) = log p_policy(y|view, x) - log p_reference(y|view, x), the log-ratio of one
answer, summed over its tokens; `beta` is `pref_beta`; sg is the stop-gradient. A *margin* is the argument of the
sigmoid divided by beta, in nats. Where nothing else is said inputs are float tensors of shape (rows,), and
outputs unreduced and of that shape.

Eq. 10 prints y_l in the second term of the video margin; its own argument list and Figure 1 use y_w on both sides, and
so do we: video (Eq. 10), clip (Eq. 11) and object (section 5.3) compare Delta(y_w|preferred view) with
Delta(y_w|rejected view).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def rejected_ratio(
    delta_re: Tensor, weights: Tensor, delta_ir: Tensor, has_ir: Tensor, relevant: float, irrelevant: float
) -> Tensor:
    """relevant * Delta(y_re|v) + irrelevant * Delta(y_ir|v): what the response term sets against Delta(y_w|v), Eq. 6-9.

    `delta_re` (rows, n) are each row's rejected answers that are about the video; the sum with their `weights`
    (rows, n) counts, and where a weight is 0 there is none, and `delta_re` is not read. `has_ir` is a bool tensor:
    where a row has no irrelevant answer its weight moves to the relevant ones, so a row with one rejected answer is
    plain DPO when the two weights add up to 1. `delta_ir` is not read there.
    """
    weight_re = torch.where(has_ir, relevant, relevant + irrelevant)
    of_relevant = (weights * torch.where(weights > 0, delta_re, 0.0)).sum(dim=1)
    return weight_re * of_relevant + irrelevant * torch.where(has_ir, delta_ir, 0.0)


def public_lengths(tokens: Tensor, sequences: Tensor) -> Tensor:
    """Length of the shortest answer that a term compares in a row: the public length of LD-DPO (arXiv 2409.06411).

    `tokens` (S,) of all sequences; `sequences` (rows, k) are those compared, -1 for none. The result (S,) has for each
    of them its row's public length, and for all others their own.
    """
    there = sequences >= 0
    lengths = torch.where(there, tokens[sequences.clamp(min=0)], tokens.max())
    shortest = lengths.amin(dim=1, keepdim=True).expand_as(sequences)
    # What is not there goes to a place behind the last: no mask is indexed with, for which a device would be waited.
    places = torch.where(there, sequences, len(tokens))
    return torch.cat([tokens, tokens.new_zeros(1)]).scatter(0, places.flatten(), shortest.flatten())[:-1]


def surplus(log_probs: Tensor, sequence: Tensor, place: Tensor, public: Tensor) -> Tensor:
    """log p of the tokens behind the public length of their answer: (S,), from `public` (S,).

    Of all N answer tokens: `log_probs` (N,), the `sequence` (N,) each belongs to, its `place` (N,) there from 0. LD-DPO
    takes (1 - ld_alpha) times this off the policy's log p of an answer.
    """
    behind = torch.where(place >= public[sequence], log_probs, 0.0)
    return log_probs.new_zeros(len(public)).index_add(0, sequence, behind)


EXO_SMOOTHING = 1e-3
"""`dpo_label_smoothing` of `exo_pair` where that is 0, at which it is not finite; TRL takes the same."""

DISCOPOP_TAU = 0.05
"""TRL's default, and the paper's (arXiv 2406.08414)."""


def preference_loss(
    preferred: Tensor, dispreferred: Tensor, beta: float, kind: str, label_smoothing: float = 0.0
) -> Tensor:
    """A pairwise loss of the two log-ratios that a term compares, as TRL 0.24 defines it (`DPOTrainer.dpo_loss`).

    All but `sppo_hard`, `apo_zero` and `apo_down` are functions of the margin, their difference. `label_smoothing` is
    part of `sigmoid` (cDPO), `robust` and `exo_pair`. Under `ipo` the log-ratios are means over answer tokens instead
    of sums, as in the host.
    """
    margin = preferred - dispreferred
    logits = beta * margin
    if kind == "sigmoid":
        return -F.logsigmoid(logits) * (1 - label_smoothing) - F.logsigmoid(-logits) * label_smoothing
    if kind == "robust":
        right, wrong = -F.logsigmoid(logits) * (1 - label_smoothing), -F.logsigmoid(-logits) * label_smoothing
        return (right - wrong) / (1 - 2 * label_smoothing)
    if kind == "exo_pair":
        flipped = label_smoothing or EXO_SMOOTHING
        right = logits.sigmoid() * (F.logsigmoid(logits) - math.log(1 - flipped))
        return right + (-logits).sigmoid() * (F.logsigmoid(-logits) - math.log(flipped))
    if kind == "hinge":
        return torch.relu(1 - logits)
    if kind == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    if kind == "sppo_hard":
        return (preferred - 1 / (2 * beta)) ** 2 + (dispreferred + 1 / (2 * beta)) ** 2
    if kind == "apo_zero":
        return (-beta * preferred).sigmoid() + (beta * dispreferred).sigmoid()
    if kind == "apo_down":
        return (beta * preferred).sigmoid() + (-logits).sigmoid()
    if kind == "discopop":
        # s(x/tau) * exp(-x) in one exponent: apart, the second overflows where the first is 0.
        exponential = (F.logsigmoid(logits / DISCOPOP_TAU) - logits).exp()
        return -F.logsigmoid(logits) * (-logits / DISCOPOP_TAU).sigmoid() + exponential
    raise ValueError(f"{kind!r} is no pairwise loss of VistaDPO.")


def kl_difference(kl_w: Tensor, kl_re: Tensor) -> Tensor:
    """D(y_re) - sg D(y_w), with D the sequence KL(reference || policy) over the whole vocabulary (TDPO2; Eq. 12)."""
    return kl_re - kl_w.detach()


def token_margin(delta_w: Tensor, delta_re: Tensor, kl_w: Tensor, kl_re: Tensor, alpha: float) -> Tensor:
    """Delta(y_w) - Delta(y_re) - alpha * (D(y_re) - sg D(y_w)) on the keyframe: TDPO2, arXiv 2404.11999."""
    return delta_w - delta_re - alpha * kl_difference(kl_w, kl_re)


def token_loss(margin: Tensor, beta: float) -> Tensor:
    """TDPO2: -log sigmoid(beta * margin), with `token_margin`."""
    return -F.logsigmoid(beta * margin)


def token_kl_loss(kl_w: Tensor, kl_re: Tensor, beta: float) -> Tensor:
    """Eq. 12 as printed: beta * (sg D(y_w) - D(y_re)). It has no lower bound, hence not the default."""
    return -beta * kl_difference(kl_w, kl_re)


def total_loss(losses: dict[str, Tensor], rows: dict[str, Tensor], weights: dict[str, float], batch: int) -> Tensor:
    """Weighted sum of the terms each row has, Eq. 14: shape (batch,).

    `losses[T]` (n_T,) belongs to the rows `rows[T]` (n_T,) of the batch. Dividing the sum of the result by the number
    of rows makes a batch's loss independent of how its rows fall into micro-batches and ranks.
    """
    total = next(iter(losses.values())).new_zeros(batch)
    for term, loss in losses.items():
        total = total.index_add(0, rows[term], weights[term] * loss)
    return total
