"""Trainer callbacks that let a test see what a run does from the inside."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback


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
    """Calls `look(model, batch)` with the first training batch before the first step."""

    def __init__(self, look: Any):
        self.look = look

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        self.look(model, next(iter(train_dataloader)))
