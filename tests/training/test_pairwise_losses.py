"""The pairwise losses against TRL's own function on the same numbers: values, and gradients of both sides."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from llamafactory.train.dpo.trainer import DPOTrainer

from vistadpo_plugin.arguments import SMOOTHED
from vistadpo_plugin.scoring.scorer import AnswerTokens, ReferenceScores, Scores
from vistadpo_plugin.training import losses
from vistadpo_plugin.training.objective import Objective

KINDS = ("sigmoid", "hinge", "ipo", "robust", "exo_pair", "sppo_hard", "apo_zero", "apo_down", "discopop")
SMOOTHINGS = [(kind, smoothing) for kind in KINDS for smoothing in (0.0, 0.2) if kind in ("sigmoid", *SMOOTHED)]
CASES = SMOOTHINGS + [(kind, 0.0) for kind in KINDS if (kind, 0.0) not in SMOOTHINGS]


def trl_loss(preferred: torch.Tensor, rejected: torch.Tensor, beta: float, kind: str, smoothing: float) -> torch.Tensor:
    """TRL's on log-ratios: policy log-probabilities under a reference that gives everything -100."""
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device=preferred.device), args=SimpleNamespace(discopop_tau=0.05), beta=beta,
        label_smoothing=smoothing, reference_free=False, f_divergence_type="reverse_kl",
    )  # fmt: skip
    known = torch.full_like(preferred, -100.0)
    found, _, _ = DPOTrainer.dpo_loss(trainer, preferred + known, rejected + known, known, known, loss_type=kind)
    return found


def log_ratios() -> list[torch.Tensor]:
    """Some nats to either side, the start of training (0, 0), and far out."""
    generator = torch.Generator().manual_seed(0)
    drawn = 20 * torch.randn(2, 60, generator=generator, dtype=torch.float64)
    corners = torch.tensor([[0.0, 150.0, -150.0, 40.0], [0.0, -150.0, 150.0, 40.0]], dtype=torch.float64)
    return [side.clone().requires_grad_() for side in torch.cat([drawn, corners], dim=1)]


@pytest.mark.parametrize("beta", [0.1, 0.5])
@pytest.mark.parametrize(("kind", "smoothing"), CASES)
def test_values_and_gradients_are_trls(kind: str, smoothing: float, beta: float) -> None:
    sides = log_ratios()
    ours = losses.preference_loss(*sides, beta, kind, smoothing)
    theirs = trl_loss(*sides, beta, kind, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert len(set(ours.tolist())) > 10 or kind == "hinge"
    for mine, other in zip(
        torch.autograd.grad(ours.sum(), sides), torch.autograd.grad(theirs.sum(), sides), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_no_margin_makes_them_break(kind: str) -> None:
    """Margins of thousands of nats in float32, where exp(-x) alone is infinite: loss and gradients stay finite."""
    sides = [torch.tensor([5e3, -5e3, 0.0], requires_grad=True), torch.tensor([-5e3, 5e3, 0.0], requires_grad=True)]
    loss = losses.preference_loss(*sides, 0.1, kind)
    assert loss.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss.sum(), sides))


@pytest.mark.parametrize(("kind", "smoothing"), CASES)
def test_every_term_but_the_token_term_takes_it(vista, kind: str, smoothing: float) -> None:
    """Sequences 0 to 3 gain 2, -3, 5 and 1 nats, over 1 to 4 tokens. Response: 2 against 0.7 * -3 + 0.3 * 5 = -0.6;
    video: 2 against 1, clip: 5 against -3; the token term is -log s(0.1 * (2 + 3)) whatever the loss."""
    gained, tokens = torch.tensor([2.0, -3.0, 5.0, 1.0]), torch.tensor([1, 2, 3, 4])
    none = torch.zeros(0, dtype=torch.long)
    policy = Scores(gained - 50, tokens, torch.zeros(4), [], AnswerTokens(torch.zeros(0), none, none, none.bool()))
    reference = ReferenceScores(torch.full((4,), -50.0), torch.zeros(4), [], None)
    row = torch.tensor([0])
    sides = {"response": [0, 1, 2], "video": [0, 3], "clip": [2, 1], "token": [0, 1]}
    batch = {"terms": {term: {"row": row, "sequences": torch.tensor([numbers])} for term, numbers in sides.items()}}
    batch["terms"]["response"]["weights"] = torch.tensor([[1.0]])
    found = Objective.of(vista(), 0.1, kind, smoothing)(policy, reference, batch)
    compared = {"response": (2.0, -0.6), "video": (2.0, 1.0), "clip": (5.0, -3.0)}
    if kind == "ipo":  # means over tokens
        compared = {"response": (2.0, 0.7 * -1.5 + 0.3 * 5 / 3), "video": (2.0, 0.25), "clip": (5 / 3, -1.5)}
    for term, (preferred, rejected) in compared.items():
        expected = trl_loss(torch.tensor([preferred]), torch.tensor([rejected]), 0.1, kind, smoothing)
        torch.testing.assert_close(found[term].loss, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[term].margin, torch.tensor([preferred - rejected]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["token"].loss, torch.tensor([0.474077]), rtol=1e-5, atol=1e-6)
