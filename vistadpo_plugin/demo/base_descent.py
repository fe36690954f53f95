"""How each lesson of a base descends: one cycle of the learning rate, under AdamW, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm


def descend(
    name: str,
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[], Tensor],
    steps: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> None:
    """Change `parameters` in place for `steps`: each draws its batch in `loss_of`, which returns a scalar with a graph.

    The first tenth warms up to `learning_rate`; gradients are clipped to a norm of 1. `name` stands before the bar.
    """
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=betas, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    progress = tqdm(range(steps), desc=name, unit="step")
    for _ in progress:
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
