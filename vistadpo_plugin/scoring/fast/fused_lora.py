"""A LoRA layer as one operation: its update is added within its own matrix product.

PEFT computes `result + lora_B(lora_A(x)) * scaling`: beside the products, three passes over a tensor as large as the
layer's output, and as many in the backward pass. Those passes take a fifth of a step. Here the second product adds
onto the result directly (`addmm_`), in the backward pass likewise; nothing else changes.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch import Tensor
from torch.autograd.function import once_differentiable


def fuse_lora(model: torch.nn.Module) -> int:
    """Let the plain LoRA layers of `model` run as one operation; returns how many there are.

    Quantized layers stay PEFT's. Not for sharded parameters (ZeRO-3, FSDP), which are whole only inside the forward
    of their own module, and the modules below the layer are not called here.
    """
    layers = [module for module in model.modules() if type(module) is Linear]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _forward(self: Linear, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    plain = None if args or kwargs else plain_lora(self, x)
    if plain is None:
        return Linear.forward(self, x, *args, **kwargs)
    return _LoraLinear.apply(x.to(plain[0].dtype), *plain)


def plain_lora(layer: Linear, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor, float] | None:
    """Weight (out, in) and bias of a layer, its A (rank, in), B (out, rank) and scaling, in the precision in which it
    maps `x`; None where its adapter is off or more than that."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(active) != 1 or not _is_plain(layer, active[0]):
        return None
    base, down, up = layer.base_layer, layer.lora_A[active[0]].weight, layer.lora_B[active[0]].weight
    operands = (base.weight, base.bias, down, up)
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        operands = tuple(operand if operand is None else operand.to(dtype) for operand in operands)
    elif not x.dtype == base.weight.dtype == down.dtype == up.dtype:
        return None
    return *operands, layer.scaling[active[0]]


def _is_plain(layer: Linear, adapter: str) -> bool:
    """A frozen linear layer, and neither dropout nor a variant such as DoRA, nor a bias of the adapter."""
    dropout, base = layer.lora_dropout[adapter], layer.base_layer
    return (
        type(base) is torch.nn.Linear
        and not any(parameter.requires_grad for parameter in base.parameters())
        and adapter not in layer.lora_variant
        and (isinstance(dropout, torch.nn.Identity) or dropout.p == 0.0)
        and layer.lora_B[adapter].bias is None
    )


class _LoraLinear(torch.autograd.Function):
    """x W' + bias + scaling (x A') B' for W (out, in), A = `down` (rank, in), B = `up` (out, rank)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ down.t()
        ctx.save_for_backward(x, low, weight, down, up)
        ctx.scaling = scaling
        result = F.linear(flat, weight, bias).addmm_(low, up.t(), alpha=scaling)
        return result.view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, low, weight, down, up = ctx.saved_tensors
        flat, of_result = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_low = (of_result @ up).mul_(ctx.scaling)
        of_x = (of_result @ weight).addmm_(of_low, down).view_as(x) if ctx.needs_input_grad[0] else None
        of_up = (low.t() @ of_result).mul_(ctx.scaling).t()
        return of_x, None, None, of_low.t() @ flat, of_up, None
