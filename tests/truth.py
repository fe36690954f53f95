"""The slow obvious way: one answer at a time through plain transformers, formulas written out. No plugin code."""

from __future__ import annotations

import math
from dataclasses import dataclass
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


# Weights of one, two or three rejected answers.
LISTED = {1: [1.0], 2: [0.75, 0.25], 3: [0.5, 0.3, 0.2]}


@dataclass
class Slow:
    """What plain transformers say of a step: log-probabilities and KL of every sequence, losses, gradients.

    `losses` of term T (rows that have it,), `gradients` of every trainable parameter of the policy by its name.
    """

    log_probs: torch.Tensor
    reference: torch.Tensor
    kl: torch.Tensor
    losses: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


def one_by_one(
    model: Any, sequences: list[tuple[list[int], list[int], dict[str, Any]]], padding: list[int] | None = None
) -> list[torch.Tensor]:
    """Log-probabilities (n, vocabulary) at the n answer tokens of every (prompt, answer, what else the model takes).

    One forward a sequence, all logits of it; `padding` are tokens put behind it, which no answer looks at.
    """
    found = []
    for prompt, answer, inputs in sequences:
        ids = torch.tensor([prompt + answer + (padding or [])])
        extra = {name: value(ids) if callable(value) else value for name, value in inputs.items()}
        logits = model(input_ids=ids, use_cache=False, **extra).logits[0, len(prompt) - 1 :][: len(answer)]
        found.append(logits.double().log_softmax(-1))
    return found


def slow_step(
    policy: Any,
    reference: Any,
    sequences: list[tuple[list[int], list[int], dict[str, Any]]],
    terms: dict[str, list[tuple[int, list[int]]]],
    rows: int,
    padding: list[int] | None = None,
    ftx: float = 0.0,
    ld_alpha: float = 1.0,
    phrases: dict[int, list[int]] | None = None,
    outside: float = 1.0,
) -> Slow:
    """One step of VistaDPO with the default weights, beta 0.1: `terms` has (row, numbers of the sequences) of each.

    Number -1 stands for an irrelevant answer that is not there; behind it come the others of a list of rejected ones,
    weighed as `LISTED` says. `ftx` and `ld_alpha` are the host's `pref_ftx` and `ld_alpha`. `phrases` are
    places of the answer tokens that are in a phrase, by sequences that have any: all others of these weigh `outside` in
    every term but the token term.
    """
    said = one_by_one(policy, sequences, padding)
    with torch.no_grad():
        known = one_by_one(reference, sequences, padding)
    words = [torch.tensor(answer) for _, answer, _ in sequences]
    singly, alone = (
        [rows_.gather(1, word[:, None]).squeeze(1) for rows_, word in zip(found, words, strict=True)]
        for found in (said, known)
    )
    log_probs, others = (torch.stack([one.sum() for one in each]) for each in (singly, alone))
    divergence = torch.stack([(q.exp() * (q - p)).sum() for p, q in zip(said, known, strict=True)])
    beta = 0.1

    def weighed(number: int, compared: list[int]) -> torch.Tensor:
        public = min(len(words[one]) for one in compared if one >= 0)
        return singly[number][:public].sum() + ld_alpha * singly[number][public:].sum()

    def in_phrases(number: int) -> torch.Tensor:
        """The log-ratio of an answer, token by token."""
        weighs = [1.0 if place in phrases[number] else outside for place in range(len(words[number]))]
        return sum(w * (p - q) for w, p, q in zip(weighs, singly[number], alone[number], strict=True))

    weights = {"response": 1.0, "video": 1.0, "clip": 0.4, "object": 0.2, "token": 0.1}
    total, losses = torch.zeros((), dtype=torch.float64), {}
    for term, having in terms.items():
        found = []
        for _, numbers in having:
            delta = {number: weighed(number, numbers) - others[number] for number in numbers if number >= 0}
            if phrases and term != "token":
                delta |= {number: in_phrases(number) for number in delta if number in phrases}
            first, second = delta[numbers[0]], delta[numbers[1]]
            if term == "response":
                listed = [numbers[1], *numbers[3:]]
                second = sum(weight * delta[one] for weight, one in zip(LISTED[len(listed)], listed, strict=True))
                rejected = second if numbers[2] < 0 else 0.7 * second + 0.3 * delta[numbers[2]]
                margin = first - rejected
                total = total - ftx * weighed(numbers[0], numbers) / len(words[numbers[0]])
            elif term == "token":
                margin = first - second - 0.5 * (divergence[numbers[1]] - divergence[numbers[0]].detach())
            else:
                margin = first - second
            found.append(torch.log1p(torch.exp(-beta * margin)))
        losses[term] = torch.stack(found)
        total = total + weights[term] * losses[term].sum()
    (total / rows).backward()
    gradients = {name: p.grad for name, p in policy.named_parameters() if p.requires_grad}
    policy.zero_grad()
    compared = {number for _, numbers in terms.get("token", []) for number in numbers}
    kl_ = torch.stack([d if number in compared else d * 0 for number, d in enumerate(divergence)])
    return Slow(
        log_probs.detach(), others, kl_.detach(), {term: loss.detach() for term, loss in losses.items()}, gradients
    )
