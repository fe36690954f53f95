"""The loss functions against numbers derived by hand; every derivation stands in its test's docstring."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from vistadpo_plugin.scoring.answer_head import AnswerHead, AnswerRequest
from vistadpo_plugin.scoring.scorer import AnswerTokens, ReferenceScores, Scores
from vistadpo_plugin.training import losses
from vistadpo_plugin.training.objective import Objective

# Of the single tokens only `ld_alpha` takes note.
NONE = tensor([], dtype=torch.long)
UNUSED = AnswerTokens(tensor([]), NONE, NONE, NONE.bool())


def known(log_probs: torch.Tensor, outside: torch.Tensor | float = 0.0) -> ReferenceScores:
    return ReferenceScores(log_probs, torch.zeros_like(log_probs) + outside, [], None)


def close(actual: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(actual, tensor(expected), atol=1e-6, rtol=1e-6)


def test_rejected_answers_are_weighed() -> None:
    """Row 1 has both rejected answers: 0.7 * 1 + 0.3 * (-1) = 0.4. Row 2 lacks y_ir: (0.7 + 0.3) * 1 = 1. Row 3 has a
    list of two: 0.7 * (0.25 * 4 + 0.75 * -8) + 0.3 * 10 = -0.5. Row 4 has it alone: 0.25 * 4 + 0.75 * -8 = -5."""
    nan = float("nan")
    delta_re = tensor([[1.0, nan], [1.0, nan], [4.0, -8.0], [4.0, -8.0]], requires_grad=True)
    weights = tensor([[1.0, 0.0], [1.0, 0.0], [0.25, 0.75], [0.25, 0.75]])
    delta_ir, has_ir = tensor([-1.0, 99.0, 10.0, nan]), tensor([True, False, True, False])
    ratio = losses.rejected_ratio(delta_re, weights, delta_ir, has_ir, 0.7, 0.3)
    ratio.sum().backward()
    close(ratio, [0.4, 1.0, -0.5, -5.0])
    close(delta_re.grad.flatten(), [0.7, 0.0, 1.0, 0.0, 0.175, 0.525, 0.25, 0.75])


def test_missing_irrelevant_answer_gets_no_gradient() -> None:
    """Where y_ir is missing its placeholder must not leak, not even as NaN * 0."""
    delta_ir = tensor([float("nan")], requires_grad=True)
    ratio = losses.rejected_ratio(tensor([[1.0]]), tensor([[1.0]]), delta_ir, tensor([False]), 0.7, 0.3)
    ratio.sum().backward()
    close(ratio, [1.0])
    assert delta_ir.grad.item() == 0


def test_sigmoid_loss() -> None:
    """beta 0.1, margin 10: -log s(1) = log(1 + e^-1) = 0.313262; margin 0: log 2; margin -10: log(1 + e) = 1.313262."""
    loss = losses.preference_loss(tensor([10.0, 2.0, -7.0]), tensor([0.0, 2.0, 3.0]), 0.1, "sigmoid")
    close(loss, [0.31326169, 0.69314718, 1.31326169])


def test_label_smoothing_mixes_both_directions() -> None:
    """margin 10, beta 0.1, smoothing 0.25: 0.75 * 0.31326169 + 0.25 * 1.31326169 = 0.56326169."""
    close(losses.preference_loss(tensor([9.0]), tensor([-1.0]), 0.1, "sigmoid", 0.25), [0.56326169])


def test_hinge_loss() -> None:
    """max(0, 1 - 0.1 * margin): margin 4 -> 0.6, margin 20 -> 0, margin -5 -> 1.5."""
    close(losses.preference_loss(tensor([4.0, 20.0, -5.0]), tensor([0.0, 0.0, 0.0]), 0.1, "hinge"), [0.6, 0.0, 1.5])


def test_ipo_loss() -> None:
    """(margin - 1 / (2 * 0.1))^2 = (margin - 5)^2: margin 5 -> 0, margin 3 -> 4."""
    close(losses.preference_loss(tensor([5.0, 2.0]), tensor([0.0, -1.0]), 0.1, "ipo"), [0.0, 4.0])


def test_unknown_loss_is_named() -> None:
    with pytest.raises(ValueError, match="orpo"):
        losses.preference_loss(tensor([0.0]), tensor([0.0]), 0.1, "orpo")


def test_token_margin_and_its_stop_gradient() -> None:
    """(1 - (-2)) - 0.5 * (3 - 2) = 2.5; d/dD_re = -0.5; D_w is stopped, so no gradient there."""
    kl_w, kl_re = tensor([2.0], requires_grad=True), tensor([3.0], requires_grad=True)
    margin = losses.token_margin(tensor([1.0]), tensor([-2.0]), kl_w, kl_re, 0.5)
    margin.sum().backward()
    close(margin, [2.5])
    assert kl_re.grad.item() == -0.5
    assert kl_w.grad is None


def test_token_loss() -> None:
    """margin 2.5, beta 0.1: log(1 + e^-0.25) = log(1.7788008) = 0.57593942."""
    close(losses.token_loss(tensor([2.5]), 0.1), [0.57593942])


def test_eq_12_is_the_bare_kl_difference() -> None:
    """0.1 * (2 - 3) = -0.1, falling without bound as D(y_re) grows: its gradient is -beta, D(y_w)'s is stopped."""
    kl_w, kl_re = tensor([2.0], requires_grad=True), tensor([3.0], requires_grad=True)
    loss = losses.token_kl_loss(kl_w, kl_re, 0.1)
    loss.sum().backward()
    close(loss, [-0.1])
    assert kl_re.grad.item() == pytest.approx(-0.1)
    assert kl_w.grad is None


def test_total_is_the_weighted_sum_of_the_terms_a_row_has() -> None:
    """Row 0 has response 1 and clip 5: 1 + 0.4 * 5 = 3. Row 1 has response 2 only. Row 2 has nothing: 0."""
    total = losses.total_loss(
        {"response": tensor([1.0, 2.0]), "clip": tensor([5.0])},
        {"response": tensor([0, 1]), "clip": tensor([0])},
        {"response": 1.0, "clip": 0.4},
        batch=3,
    )
    close(total, [3.0, 2.0, 0.0])


def test_token_term_against_the_whole_vocabulary_in_float64(vista) -> None:
    """TDPO2 from logits, term by term in float64, against the objective's float32 route."""
    torch.manual_seed(0)
    logits = {side: torch.randn(2, 5, 40, dtype=torch.float64) for side in ("policy", "reference")}
    answers = torch.randint(0, 40, (2, 5))

    def log_probs(side: str) -> torch.Tensor:
        picked = logits[side].float().log_softmax(-1).gather(2, answers.unsqueeze(2)).squeeze(2)
        return picked.sum(1)

    def divergence(answer: int) -> torch.Tensor:
        place = torch.arange(5)
        request = AnswerRequest(torch.zeros_like(place), place, answers[answer], place, place[:0])
        request.reference, request.reference_head = logits["reference"][answer].float(), torch.nn.Identity()
        head = AnswerHead(torch.nn.Identity(), 40)
        with head.answering(request):
            return head.head(logits["policy"][answer : answer + 1].float())[1].sum()

    policy = Scores(log_probs("policy"), tensor([5, 5]), torch.stack([divergence(0), divergence(1)]), [], UNUSED)
    batch = {"terms": {"token": {"row": tensor([0]), "sequences": tensor([[0, 1]])}}}
    objective = Objective.of(vista(vista_token_alpha=0.5), beta=0.1, kind="sigmoid", label_smoothing=0.0)
    result = objective(policy, known(log_probs("reference")), batch)["token"]

    p = {side: torch.exp(values) / torch.exp(values).sum(-1, keepdim=True) for side, values in logits.items()}
    delta, kl = [], []
    for answer in range(2):
        steps = [(p["policy"][answer, t], p["reference"][answer, t], answers[answer, t]) for t in range(5)]
        delta.append(sum(torch.log(policy[word] / reference[word]) for policy, reference, word in steps))
        kl.append(sum((reference * torch.log(reference / policy)).sum() for policy, reference, _ in steps))
    margin = delta[0] - delta[1] - 0.5 * (kl[1] - kl[0])
    loss = torch.log(1 + torch.exp(-0.1 * margin))

    assert result.margin.item() == pytest.approx(margin.item(), abs=1e-4)
    assert result.loss.item() == pytest.approx(loss.item(), abs=1e-5)
    assert result.extra["vista/kl_rejected"].item() == pytest.approx(kl[1].item(), abs=1e-4)


def test_ipo_margins_are_means_over_answer_tokens(vista) -> None:
    """Delta sums 6 and 2 over 3 and 2 tokens: 6/3 - 2/2 = 1, as the host and TRL do it; the loss is (1 - 5)^2 = 16."""
    policy = Scores(tensor([-4.0, -8.0]), tensor([3, 2]), tensor([0.0, 0.0]), [], UNUSED)
    reference = tensor([-10.0, -10.0])
    batch = {"terms": {"video": {"row": tensor([0]), "sequences": tensor([[0, 1]])}}}
    result = Objective.of(vista(), 0.1, "ipo", 0.0)(policy, known(reference), batch)["video"]
    close(result.margin, [1.0])
    close(result.loss, [16.0])


def test_public_length_is_that_of_the_shortest_answer() -> None:
    """Row 1 compares 5, 3 and 4 tokens: 3. Row 2 has no third answer: the shorter of 7 and 2. Sequence 5 is in none."""
    tokens, sequences = tensor([5, 3, 4, 7, 2, 9]), tensor([[0, 1, 2], [3, 4, -1]])
    assert losses.public_lengths(tokens, sequences).tolist() == [3, 3, 3, 2, 2, 9]


def test_surplus_is_what_lies_behind_the_public_length() -> None:
    """Sequence 0: tokens -1, -2, -4 with 1 public: -6. Sequence 1: -8, -16, both public: 0. Gradients are 0 or 1."""
    log_probs = tensor([-8.0, -1.0, -16.0, -2.0, -4.0], requires_grad=True)
    sequence, place = tensor([1, 0, 1, 0, 0]), tensor([0, 0, 1, 1, 2])
    found = losses.surplus(log_probs, sequence, place, tensor([1, 2]))
    found.sum().backward()
    close(found, [-6.0, 0.0])
    close(log_probs.grad, [0.0, 0.0, 0.0, 1.0, 1.0])
