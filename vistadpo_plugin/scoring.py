"""Sequences -> log-probabilities: what a model says of every answer on every view.

One row of the batch an answer, every logit computed: the plain way. Only answer positions are turned into float32.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from llamafactory.extras.constants import IGNORE_INDEX
from torch import Tensor


@dataclass
class Scores:
    """One model's view of the S sequences of a batch.

    `log_probs` float32 (S,): sum over answer tokens of log p(token), in nats; `tokens` int64 (S,): answer tokens,
    end-of-sequence included; `distributions`: for the sequences asked for, float32 (tokens, vocabulary)
    log-probabilities at every answer position.
    """

    log_probs: Tensor
    tokens: Tensor
    distributions: dict[int, Tensor]


def score(model: Any, groups: list[dict[str, Any]], distributions: Collection[int] = ()) -> Scores:
    """Score all sequences of a batch (see `data.collator`) with `model`, which may be wrapped (DDP, DeepSpeed, FSDP).

    `distributions` names the sequences whose full distributions are wanted.
    """
    parts = [_score_group(model, group, distributions) for group in groups]
    order = torch.cat([group["sequence"] for group in groups]).argsort()
    return Scores(
        log_probs=torch.cat([part.log_probs for part in parts])[order],
        tokens=torch.cat([part.tokens for part in parts])[order],
        distributions={number: value for part in parts for number, value in part.distributions.items()},
    )


def _score_group(model: Any, group: dict[str, Any], distributions: Collection[int]) -> Scores:
    inputs = {name: value for name, value in group.items() if name not in ("sequence", "labels")}
    logits = model(**inputs, use_cache=False, return_dict=True).logits[:, :-1]
    labels = group["labels"][:, 1:]  # the logits at position t predict the token at t + 1
    answer = labels != IGNORE_INDEX
    owner = answer.nonzero()[:, 0]  # which sequence of the group each answer token belongs to
    log_softmax = logits[answer].float().log_softmax(dim=-1)
    chosen = log_softmax.gather(1, labels[answer].unsqueeze(1)).squeeze(1)
    sums = torch.zeros(len(labels), device=chosen.device).index_add(0, owner, chosen)
    wanted = {
        number: log_softmax[owner == position]
        for position, number in enumerate(group["sequence"].tolist())
        if number in distributions
    }
    return Scores(sums, answer.sum(dim=1), wanted)


def sequence_kl(reference: Tensor, policy: Tensor) -> Tensor:
    """D = sum over answer positions of KL(reference || policy), from log-probabilities (tokens, vocabulary) to ()."""
    return (reference.exp() * (reference - policy)).sum()
