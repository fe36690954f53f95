"""The five terms of VistaDPO as pure functions of tensors (Huang et al., ICML 2025, arXiv 2504.13122).

Notation of the paper: Delta(y|view) = log p_policy(y|view, x) - log p_reference(y|view, x), the log-ratio of one
answer, summed over its tokens; `beta` is `pref_beta`; sg is the stop-gradient. A *margin* is the argument of the
sigmoid divided by beta, in nats. All inputs are float tensors of shape (rows,), all outputs unreduced and of that
shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def response_margin(
    delta_w: Tensor, delta_re: Tensor, delta_ir: Tensor, has_ir: Tensor, relevant: float, irrelevant: float
) -> Tensor:
    """Delta(y_w|v) - relevant * Delta(y_re|v) - irrelevant * Delta(y_ir|v), Eq. 6-9.

    `has_ir` is a bool tensor: where a row has no irrelevant answer its weight moves to the relevant one, so a row with
    one rejected answer is plain DPO when the two weights add up to 1. `delta_ir` is not read there.
    """
    weight_re = torch.where(has_ir, relevant, relevant + irrelevant)
    return delta_w - weight_re * delta_re - irrelevant * torch.where(has_ir, delta_ir, 0.0)


def view_margin(delta_plus: Tensor, delta_minus: Tensor) -> Tensor:
    """Delta(y_w|preferred view) - Delta(y_w|rejected view): video (Eq. 10), clip (Eq. 11) and object (section 5.3).

    Eq. 10 prints y_l in its second term; its own argument list and Figure 1 use y_w on both sides, and so do we.
    """
    return delta_plus - delta_minus


def preference_loss(margin: Tensor, beta: float, kind: str, label_smoothing: float = 0.0) -> Tensor:
    """The host's DPO losses of a margin: `sigmoid` (cDPO with `label_smoothing`), `hinge` or `ipo`.

    Under `ipo` the log-ratios that make up the margin are means over answer tokens instead of sums, as in the host.
    """
    if kind == "sigmoid":
        logits = beta * margin
        return -F.logsigmoid(logits) * (1 - label_smoothing) - F.logsigmoid(-logits) * label_smoothing
    if kind == "hinge":
        return torch.relu(1 - beta * margin)
    if kind == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    raise ValueError(f"`pref_loss` is {kind!r}; VistaDPO allows sigmoid, hinge and ipo.")


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
