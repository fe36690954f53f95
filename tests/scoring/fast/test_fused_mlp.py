"""Fused gated MLPs against the same MLPs as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN

from vistadpo_plugin.scoring.fast.fused_lora import fuse_lora
from vistadpo_plugin.scoring.fast.fused_mlp import fuse_mlps

WIDTH, INNER, POSITIONS = 12, 40, 14


class Gated(torch.nn.Module):
    """As transformers writes it."""

    def __init__(self, activation: str = "silu", bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = torch.nn.Linear(WIDTH, INNER, bias=bias)
        self.up_proj = torch.nn.Linear(WIDTH, INNER, bias=bias)
        self.down_proj = torch.nn.Linear(INNER, WIDTH, bias=bias)
        self.act_fn = ACT2FN[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Scaled(Gated):
    """The same parts, another function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


class Model(torch.nn.Module):
    def __init__(self, mlp: torch.nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mlp(x)


def lora(make: Callable[[], torch.nn.Module] = Gated, **changes: Any) -> Any:
    torch.manual_seed(0)
    targets = ["gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": targets, "lora_dropout": 0.0, **changes})
    model = get_peft_model(Model(make()), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    fuse_lora(model)
    return model


def run(model: Any, again: bool = False, autocast: bool = False) -> dict[str, torch.Tensor]:
    """Output and all gradients of a seeded input, with or without checkpointing."""
    torch.manual_seed(1)
    model.zero_grad()
    x = torch.randn(2, POSITIONS // 2, WIDTH, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = checkpoint(model, x, use_reentrant=False) if again else model(x)
    output.float().square().sum().backward()
    return {"output": output.detach(), "x": x.grad} | {
        n: p.grad for n, p in model.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_the_mlps_own(bias: bool, again: bool) -> None:
    own = run(lora(lambda: Gated(bias=bias)))
    model = lora(lambda: Gated(bias=bias))
    assert fuse_mlps(model) == 1
    fused = run(model, again)
    assert own.keys() == fused.keys() and len(own) == 2 + 6
    for name, value in own.items():
        assert value.abs().max() > 0
        torch.testing.assert_close(fused[name], value, atol=2e-6 * float(value.abs().max()), rtol=0)


def test_bfloat16_autocast_is_as_close_to_float32_as_the_mlp_itself() -> None:
    exact, own = run(lora()), run(lora(), autocast=True)
    model = lora()
    fuse_mlps(model)
    fused = run(model, autocast=True)
    for name, value in exact.items():
        spread = (own[name].float() - value).norm()
        assert spread > 1e-4 * value.norm(), "this is not bfloat16"
        assert (fused[name].float() - value).norm() < 1.5 * spread, name


def test_two_tensors_of_the_inner_width_are_kept() -> None:
    """Gate and up; without it silu(gate) and the product too."""

    def kept(model: Any) -> int:
        storages = {}
        with saved_tensors_hooks(lambda t: storages.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t):
            model(torch.randn(1, POSITIONS, WIDTH, requires_grad=True))
        return sum(tensor.numel() == POSITIONS * INNER for tensor in storages.values())

    model = lora()
    assert kept(model) == 4
    fuse_mlps(model)
    assert kept(model) == 2


def test_the_last_product_is_not_computed_again() -> None:
    """Products of (positions, inner) with (inner, width): `down_proj` forward once, and back through gate and up."""

    class Products(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.shapes: Counter[tuple] = Counter()

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten.mm.default:
                self.shapes[tuple(args[0].shape), tuple(args[1].shape)] += 1
            return function(*args, **(kwargs or {}))

    counts = []
    model = lora()
    for _ in range(2):
        with Products() as products:
            run(model, again=True)
        counts.append(products.shapes[(POSITIONS, INNER), (INNER, WIDTH)])
        fuse_mlps(model)
    assert counts == [4, 3]


@pytest.mark.parametrize("make", [lambda: Gated("gelu"), Scaled], ids=["gelu", "scaled"])
def test_other_functions_are_left_alone(make: Callable[[], torch.nn.Module]) -> None:
    assert fuse_mlps(lora(make)) == 0


@pytest.mark.parametrize(
    "changes", [{"lora_dropout": 0.5}, {"use_dora": True}], ids=lambda changes: next(iter(changes))
)
def test_adapters_that_are_more_than_two_matrices_are_pefts(changes: dict[str, Any]) -> None:
    """The MLP is the same function, and `down_proj` PEFT's."""
    own = run(lora(**changes))
    model = lora(**changes)
    fuse_mlps(model)
    fused = run(model)
    for name, value in own.items():
        torch.testing.assert_close(fused[name], value, atol=2e-6 * float(value.abs().max()), rtol=0)


def test_without_its_adapter_the_mlp_is_the_base_models() -> None:
    model = lora()
    x = torch.randn(1, 3, WIDTH)
    with model.disable_adapter():
        expected = model(x)
        fuse_mlps(model)
        assert torch.equal(model(x), expected)
    assert not torch.allclose(model(x), expected, atol=1e-2)
