"""The slow obvious way: one answer at a time through plain transformers, formulas written out. No plugin code."""

from __future__ import annotations

import math
from typing import Any

import torch

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def answer_distributions(
    model: Any, tokenizer: Any, prompt: str, answer: str, pixels: torch.Tensor, video_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(answer token ids (n,), log-probabilities float64 (n, vocabulary)) of one answer on one view.

    `pixels` (frames, 3, height, width) as the model takes them. The text is the video_llava template's, piece by piece.
    """
    turn = f"USER: {'<video>' * video_tokens}\n{prompt} ASSISTANT:"
    pieces = [tokenizer.encode(text, add_special_tokens=False) for text in (SYSTEM, turn, answer)]
    answer_ids = pieces[2] + [tokenizer.eos_token_id]
    ids = torch.tensor([pieces[0] + pieces[1] + answer_ids])
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values_videos=pixels.unsqueeze(0)).logits[0].double()
    start = ids.shape[1] - len(answer_ids)
    return torch.tensor(answer_ids), logits[start - 1 : -1].log_softmax(-1)


def log_prob(ids: torch.Tensor, distributions: torch.Tensor) -> float:
    """Sum of the answer tokens' log-probabilities."""
    return sum(distributions[position, word].item() for position, word in enumerate(ids))


def kl(reference: torch.Tensor, policy: torch.Tensor) -> float:
    """Sum over positions of KL(reference || policy)."""
    return (reference.exp() * (reference - policy)).sum().item()


def minus_log_sigmoid(value: float) -> float:
    return math.log1p(math.exp(-value))
