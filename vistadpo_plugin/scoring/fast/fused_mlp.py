"""A gated MLP that keeps two tensors for its backward pass instead of four, and whose last product runs once.

`down_proj(silu(gate) * up)` with a LoRA layer for `down_proj`: autograd would keep gate, silu(gate), up and their
product, each the MLP's width. Gate and up are enough. What the last product needs in the backward pass is known before
it runs, so a layer that gradient checkpointing computes again stops short of it.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch import Tensor
from torch.autograd.function import once_differentiable

from vistadpo_plugin.scoring.fast.fused_lora import plain_lora


def fuse_mlps(model: torch.nn.Module) -> int:
    """Let the gated SiLU MLPs of `model` run fused; returns how many there are. As `fuse_lora`, after it."""
    mlps = [module for module in model.modules() if _is_gated(module)]
    for mlp in mlps:
        mlp.forward = MethodType(_forward, mlp)
    return len(mlps)


def _is_gated(module: torch.nn.Module) -> bool:
    """Computes `down_proj(silu(gate_proj(x)) * up_proj(x))`; its own forward is asked, on two positions."""
    parts = [getattr(module, f"{name}_proj", None) for name in ("gate", "up", "down")]
    if not all(type(part) is Linear for part in parts):
        return False
    gate, up, down = parts
    weight = gate.base_layer.weight
    if not weight.is_floating_point() or weight.dim() != 2:
        return False  # packed by a quantizer
    x = torch.linspace(-3, 3, 2 * weight.shape[1], device=weight.device, dtype=weight.dtype).view(1, 2, -1)
    with torch.no_grad():
        return torch.equal(module(x), down(F.silu(gate(x)) * up(x)))


def _forward(self: Any, x: Tensor) -> Tensor:
    gate, up = self.gate_proj(x), self.up_proj(x)
    plain = plain_lora(self.down_proj, gate) if torch.is_grad_enabled() else None
    if plain is None:
        return self.down_proj(F.silu(gate) * up)
    weight, bias, down, back, scaling = plain
    product, low = _Gated.apply(gate.to(weight.dtype), up.to(weight.dtype), down)
    return _Down.apply(product, low, back, weight, bias, down.detach(), scaling)


class _Gated(torch.autograd.Function):
    """silu(gate) * up, (..., width), and that times A', (..., rank). Of the first only `_Down` may make use: what it
    sends back counts A's share already."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(gate, up)
        product = F.silu(gate).mul_(up)
        return product, product @ down.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_product: Tensor, of_low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        silu = F.silu(gate)
        of_gate = torch.ops.aten.silu_backward(of_product * up, gate)
        of_up = of_product * silu
        product = silu.mul_(up)
        of_down = of_low.reshape(-1, of_low.shape[-1]).t() @ product.reshape(-1, product.shape[-1])
        return of_gate, of_up, of_down


class _Down(torch.autograd.Function):
    """product W' + bias + scaling low B'."""

    @staticmethod
    def forward(
        ctx: Any,
        product: Tensor,
        low: Tensor,
        back: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        scaling: float,
    ) -> Tensor:
        # By hand and not by `save_for_backward`: checkpointing runs a layer again up to the last tensor saved so.
        # `low` is small, and weights do not change between forward and backward.
        ctx.kept, ctx.scaling = (low, back, weight, down), scaling
        flat = product.reshape(-1, product.shape[-1])
        result = F.linear(flat, weight, bias).addmm_(low.reshape(-1, low.shape[-1]), back.t(), alpha=scaling)
        return result.view(*product.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        low, back, weight, down = ctx.kept
        of_result = gradient.reshape(-1, gradient.shape[-1])
        of_low = (of_result @ back).mul_(ctx.scaling)
        of_product = (of_result @ weight).addmm_(of_low, down)
        of_back = (low.reshape(-1, low.shape[-1]).t() @ of_result).mul_(ctx.scaling).t()
        shape = gradient.shape[:-1]
        return of_product.view(*shape, -1), of_low.view(*shape, -1), of_back, None, None, None, None
