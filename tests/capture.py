"""What lets a test see what a run does from the inside: trainer callbacks, and a record of every scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from vistadpo_plugin.scoring.scorer import ReferenceScores, Scorer, Scores


class Gradients(TrainerCallback):
    """The gradients of every trainable parameter at every optimizer step, after ranks are averaged."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []
        self.trainable: set[str] = set()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        parameters = {name.removeprefix("module."): p for name, p in model.named_parameters() if p.requires_grad}
        self.trainable = set(parameters)
        self.steps.append(
            {name: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for name, p in parameters.items()}
        )


class FirstBatch(TrainerCallback):
    """Calls `look(model, batch)` with the first training batch before the first step; `loader` gave it."""

    def __init__(self, look: Any):
        self.look = look
        self.loader: Any = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        self.loader = train_dataloader
        self.look(model, next(iter(train_dataloader)))


@dataclass
class Pass:
    """One model's scoring of one batch; the policy's is given what the reference says."""

    scorer: Scorer
    batch: dict[str, Any]
    reference: ReferenceScores | None
    scores: Scores


def record_scores(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """Every scoring from here on, as it happens; scoring itself goes on as before."""
    passes: list[Pass] = []
    score = Scorer.__call__

    def recorded(self: Scorer, model: Any, batch: Any, encoded: Any, reference: Any = None) -> Scores:
        scores = score(self, model, batch, encoded, reference)
        passes.append(Pass(self, batch, reference, scores))
        return scores

    monkeypatch.setattr(Scorer, "__call__", recorded)
    return passes
