"""The head at answer positions: values by hand, and chunks that make no difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rounding import rounding

from vistadpo_plugin.scoring import answer_head
from vistadpo_plugin.scoring.answer_head import AnswerHead, AnswerRequest

VOCABULARY, WIDTH = 23, 6


def request(answers: int, token_term: list[int], rows: int = 2, columns: int = 9) -> AnswerRequest:
    """Answer tokens anywhere in (rows, columns), some positions more than once."""
    draw = torch.Generator().manual_seed(answers)
    place = [torch.randint(0, size, (answers,), generator=draw) for size in (rows, columns, VOCABULARY)]
    others = [number for number in range(answers) if number not in token_term]
    return AnswerRequest(*place, torch.tensor(token_term, dtype=torch.long), torch.tensor(others, dtype=torch.long))


def head(chunk: int | None = None, bias: bool = True) -> AnswerHead:
    torch.manual_seed(0)
    made = AnswerHead(torch.nn.Linear(WIDTH, VOCABULARY, bias=bias), VOCABULARY)
    if chunk is not None:
        made.chunk = chunk
    return made


def states() -> torch.Tensor:
    return torch.randn(2, 9, WIDTH, generator=torch.Generator().manual_seed(5)) * 3


def answered(made: AnswerHead, asked: AnswerRequest, hidden: torch.Tensor) -> torch.Tensor:
    with made.answering(asked):
        return made.head(hidden)


def by_hand(policy: list[float], known: list[float], token: int) -> tuple[float, float]:
    """log p(token) and KL(known || policy) of two rows of logits, in Python's float64."""
    p, q = ([value - math.log(sum(map(math.exp, row))) for value in row] for row in (policy, known))
    return p[token], sum(math.exp(b) * (b - a) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("other_head", [True, False])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_against_float64_by_hand(chunk: int | None, other_head: bool) -> None:
    made, asked, hidden = head(chunk), request(8, [6, 1, 4]), states()
    asked.reference = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(8)) * 3
    other = torch.nn.Linear(WIDTH, VOCABULARY)
    asked.reference_head = other if other_head else None
    result = answered(made, asked, hidden)
    assert result.shape == (2, 8) and result.dtype == torch.float32
    expected = torch.zeros(2, 8, dtype=torch.float64)
    for place in range(8):
        state = hidden[asked.row[place], asked.column[place]]
        logits = made.full(state).tolist()
        known = logits
        if place in (6, 1, 4):
            there = asked.reference[[6, 1, 4].index(place)]
            known = (other if other_head else made.full)(there).tolist()
        expected[:, place] = torch.tensor(by_hand(logits, known, int(asked.token[place])), dtype=torch.float64)
    assert expected[1].max() > 0.5
    torch.testing.assert_close(result.double(), expected, atol=2e-5, rtol=2e-6)


def test_kl_of_two_words() -> None:
    """Reference (1/2, 1/2) against policy (1/4, 3/4): 1/2 log 2 + 1/2 log 2/3 = 1/2 log 4/3; against itself 0."""
    made = AnswerHead(torch.nn.Identity(), 2)
    policy, known = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]).log(), torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    place = torch.arange(2)
    asked = AnswerRequest(torch.zeros_like(place), place, place, place, place[:0], known, torch.nn.Identity())
    log_probs, kl = answered(made, asked, policy)
    torch.testing.assert_close(kl, torch.tensor([math.log(4 / 3) / 2, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(log_probs, torch.tensor([0.25, 0.5]).log())


def gradients(made: AnswerHead, asked: AnswerRequest) -> dict[str, torch.Tensor]:
    hidden = states().requires_grad_()
    result = answered(made, asked, hidden)
    weights = torch.linspace(0.5, 2, result.numel()).reshape(result.shape)
    (result * weights).sum().backward()
    kept = {} if asked.hidden is None else {"kept": asked.hidden}
    return {"result": result.detach(), "hidden": hidden.grad, "weight": made.head.weight.grad, **kept}


@pytest.mark.parametrize("token_term", [[], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 2, 3]])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 9, 10])
def test_chunks_make_no_difference(chunk: int, given: bool, token_term: list[int]) -> None:
    """Values and gradients, with the reference and without, and where the last chunk is not full."""
    found = []
    for size in (10**6, chunk):
        asked = request(10, token_term)
        if given:
            asked.reference = torch.randn(len(token_term), WIDTH, generator=torch.Generator().manual_seed(8))
        found.append(gradients(head(size), asked))
    whole, chunked = found
    assert whole.keys() == chunked.keys() and ("kept" in whole) == (not given or not token_term)
    for name, value in whole.items():
        # Sums over the width, the vocabulary and the 18 positions, forward and backward.
        bound = rounding(2 * (WIDTH + VOCABULARY + 18), size=float(value.abs().max()) if len(value) else 0.0)
        torch.testing.assert_close(chunked[name], value, atol=bound, rtol=0)


def test_no_more_than_a_chunk_of_logits_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is in elements: 3 positions of this vocabulary."""
    monkeypatch.setattr(answer_head, "CHUNK", 3 * VOCABULARY + 1)
    made, sizes = head(), []
    full: Callable[..., Any] = made.full

    def watched(hidden: torch.Tensor) -> torch.Tensor:
        sizes.append(len(hidden))
        return full(hidden)

    made.full = watched
    answered(made, request(10, []), states())
    assert sizes == [3, 3, 3, 1]


def test_positions_are_picked_before_the_head_and_others_get_no_gradient() -> None:
    asked = request(5, [])
    asked.row[:], asked.column = 0, torch.tensor([2, 2, 3, 8, 3])
    gradient = gradients(head(), asked)["hidden"]
    assert [column for column in range(9) if gradient[0, column].abs().sum() > 0] == [2, 3, 8]
    assert gradient[1].abs().sum() == 0


def test_without_a_request_the_head_is_itself() -> None:
    made, hidden = head(), states()
    expected = torch.nn.functional.linear(hidden, made.head.weight, made.head.bias)
    answered(made, request(4, []), hidden)
    torch.testing.assert_close(made.head(hidden), expected)
    with pytest.raises(RuntimeError), made.answering(request(4, [])):
        raise RuntimeError  # a failed forward leaves no request behind
    torch.testing.assert_close(made.head(hidden), expected)
