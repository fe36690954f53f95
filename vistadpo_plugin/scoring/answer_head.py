"""A model's output head that looks at answer positions only.

While a request is served, the head takes the hidden states of a whole batch, picks the positions that predict an answer
token, and returns log-probabilities instead of logits: (answer tokens, vocabulary) in float32 exists a chunk at a time,
(batch, sequence, vocabulary) never. It sits inside the model, so that it runs within the wrapped forward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Float32 elements of one chunk of logits: 128 MiB.
CHUNK = 2**25


@dataclass
class AnswerRequest:
    """What is wanted of one forward.

    Of the N answer tokens: `row` and `column` (N,) of the position that predicts each, `token` (N,) its id.
    `token_term` (K,) are the places, among the N, of those whose whole distribution the token term compares, `others`
    (N - K,) the places of the rest (told, because finding them makes the processor wait for the device). Given the
    reference's hidden states there, `reference` (K, width), and `reference_head`, which turns them into logits, the KL
    is computed; without them the model is itself the reference, and its `hidden` states there (K, width) are kept.
    `result` is what the head returned, at its `version`, by which a model that changes its head's output is found out.
    """

    row: Tensor
    column: Tensor
    token: Tensor
    token_term: Tensor
    others: Tensor
    reference: Tensor | None = None
    reference_head: Callable[[Tensor], Tensor] | None = None
    hidden: Tensor | None = None
    result: Tensor | None = None
    version: int = 0

    def is_unchanged(self, output: Tensor) -> bool:
        """Whether a model's output is the very tensor that its head returned."""
        return output.data_ptr() == self.result.data_ptr() and self.result._version == self.version


class AnswerHead:
    """Takes the place of `head.forward`; `full` is the head as it was, and still is when nothing is requested."""

    def __init__(self, head: torch.nn.Module, vocabulary: int):
        self.head = head
        self.full = head.forward
        self.chunk = max(1, CHUNK // vocabulary)
        self.request: AnswerRequest | None = None
        head.forward = self._forward

    @contextmanager
    def answering(self, request: AnswerRequest) -> Iterator[None]:
        self.request = request
        try:
            yield
        finally:
            self.request = None

    def _forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The head's logits; while answering, float32 (2, N): log p(token), and KL(reference || policy) or 0."""
        request = self.request
        if request is None:
            return self.full(hidden, *args, **kwargs)
        result = self._answer(hidden[request.row, request.column], request)
        request.result, request.version = result, result._version
        return result

    def _answer(self, states: Tensor, request: AnswerRequest) -> Tensor:
        if request.reference is None or not len(request.token_term):
            request.hidden = states[request.token_term].detach()
            return self._in_chunks(self._score, states, request.token)
        order = torch.cat([request.others, request.token_term])
        compare = functools.partial(self._compare, request.reference_head or self.full)
        compared = states[request.token_term], request.token[request.token_term], request.reference
        parts = [
            self._in_chunks(self._score, states[request.others], request.token[request.others]),
            self._in_chunks(compare, *compared),
        ]
        return torch.cat(parts, dim=1)[:, order.argsort()]

    def _in_chunks(self, score: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """`score` of tensors (n, ...), which returns (2, n), a chunk of n at a time."""
        total = len(inputs[0])
        if total <= self.chunk:
            return score(*inputs)
        chunks = [[one[first : first + self.chunk] for one in inputs] for first in range(0, total, self.chunk)]
        # Recomputed in the backward pass, so that the logits of one chunk are all there ever is.
        return torch.cat([checkpoint(score, *chunk, use_reentrant=False) for chunk in chunks], dim=1)

    def _score(self, states: Tensor, token: Tensor) -> Tensor:
        """(n, width), (n,) to (2, n), see `_forward`, without a KL."""
        log_probs = -F.cross_entropy(self.full(states).float(), token, reduction="none")
        return torch.stack([log_probs, torch.zeros_like(log_probs)])

    def _compare(
        self, reference_head: Callable[[Tensor], Tensor], states: Tensor, token: Tensor, reference: Tensor
    ) -> Tensor:
        """(n, width), (n,) and the reference's states (n, width) to (2, n), see `_forward`."""
        policy = self.full(states).float().log_softmax(dim=-1)
        with torch.no_grad():
            known = reference_head(reference.to(states.dtype)).float().log_softmax(dim=-1)
        divergence = F.kl_div(policy, known, log_target=True, reduction="none").sum(dim=-1)
        return torch.stack([policy.gather(1, token.unsqueeze(1)).squeeze(1), divergence])
