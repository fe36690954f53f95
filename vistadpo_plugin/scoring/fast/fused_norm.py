"""An RMS norm as one operation: torch's own, one kernel on a GPU.

Models spell it out (float32 copy, square, mean, root, product, copy back, weight): a dozen passes over the hidden
states, and three copies of them kept for the backward pass. torch's keeps its input and one number a position, and
rounds once at the end, in float32 until then. On a CPU both are the same operations.
"""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def fuse_norms(model: torch.nn.Module) -> int:
    """Let the RMS norms of `model` run as one operation; returns how many there are. Not for sharded parameters."""
    norms = [module for module in model.modules() if _is_rms_norm(module)]
    for norm in norms:
        norm.vista_spelled_out = norm.forward
        norm.forward = MethodType(_forward, norm)
    return len(norms)


def _is_rms_norm(module: torch.nn.Module) -> bool:
    """Computes weight * x / sqrt(mean(x^2) + epsilon); its own forward is asked, on two positions. (Gemma's norms have
    1 + weight, others a bias.)"""
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, torch.nn.Parameter) or weight.dim() != 1 or not isinstance(epsilon, float):
        return False
    if len(inspect.signature(module.forward).parameters) != 1:
        return False  # gated
    x = torch.linspace(-3, 2, 2 * len(weight), device=weight.device, dtype=weight.dtype).view(1, 2, -1)
    with torch.no_grad():
        expected = F.rms_norm(x.float(), weight.shape, weight.float(), epsilon)
        # The model rounds twice to the weight's precision, so two roundings lie between.
        return torch.allclose(module(x).float(), expected, rtol=2 * torch.finfo(weight.dtype).eps, atol=1e-6)


def _forward(self: Any, hidden_states: Tensor) -> Tensor:
    if hidden_states.dtype != self.weight.dtype:
        return self.vista_spelled_out(hidden_states)
    return F.rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)
