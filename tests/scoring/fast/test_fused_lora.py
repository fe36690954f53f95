"""The fused LoRA layers against PEFT's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rounding import rounding

from vistadpo_plugin.scoring.fast import fused_lora
from vistadpo_plugin.scoring.fast.fused_lora import fuse_lora


class Two(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(24, 40)
        self.second = torch.nn.Linear(40, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.nn.functional.silu(self.first(x)))


def lora(dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """Two linear layers with adapters whose A and B are drawn."""
    torch.manual_seed(0)
    config = {"r": 4, "lora_alpha": 12, "target_modules": ["first", "second"], "lora_dropout": 0.0, **changes}
    model = get_peft_model(Two().to(dtype), LoraConfig(**config))
    draw(model)
    return model


def draw(model: Any) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)


def run(model: Any, shape: tuple[int, ...] = (2, 7, 24), autocast: bool = False) -> dict[str, torch.Tensor]:
    """Output, and gradients of adapters and input, of one seeded input."""
    torch.manual_seed(1)
    model.zero_grad()
    x = torch.randn(shape, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(x if autocast else x.to(next(model.parameters()).dtype))
    output.float().square().sum().backward()
    named = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"output": output.detach(), "input": x.grad, **named}


def both(model: Any, **options: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """PEFT's own and the fused layers'."""
    own = run(model, **options)
    assert fuse_lora(model) == 2
    return own, run(model, **options)


@pytest.fixture
def fallbacks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Layers that were left to PEFT."""
    found: list[Any] = []
    own = fused_lora.Linear.forward

    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(self)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(fused_lora.Linear, "forward", recorded)
    return found


@pytest.mark.parametrize("shape", [(2, 7, 24), (1, 24), (24,), (0, 24)])
@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}, {"r": 1}])
def test_values_and_gradients_are_pefts(shape: tuple[int, ...], changes: dict[str, Any], fallbacks: list[Any]) -> None:
    own, fused = both(lora(**changes), shape=shape)
    assert len(fallbacks) == 2  # PEFT's own run alone
    assert own.keys() == fused.keys() and len(own) == 2 + 4
    for name, value in own.items():
        # Forward and backward are sums of 24, 40 and twice 4 terms and of 14 rows, at the size of the largest value.
        bound = rounding(2 * (24 + 40 + 8 + 14), size=float(value.abs().max() if len(value) else 0))
        torch.testing.assert_close(fused[name], value, atol=bound, rtol=0)


def test_a_view_of_other_order_is_read_right() -> None:
    """An input that is not contiguous."""
    model, x = lora(), torch.randn(24, 7, 2).permute(2, 1, 0)
    expected = model(x)
    fuse_lora(model)
    bound = rounding(24 + 40 + 8, size=float(expected.abs().max()))
    torch.testing.assert_close(model(x), expected, atol=bound, rtol=0)
    assert (model(x.flip(1)) - expected).abs().max() > 1e4 * bound


def test_bfloat16_autocast_is_as_close_to_float32_as_peft(fallbacks: list[Any]) -> None:
    exact = run(lora())
    own, fused = both(lora(), autocast=True)
    assert len(fallbacks) == 4
    assert fused["output"].dtype == own["output"].dtype == torch.bfloat16
    for name, value in exact.items():
        spread = (own[name].float() - value).norm()
        assert spread > 1e-4 * value.norm(), "this is not bfloat16"
        assert (fused[name].float() - value).norm() < 1.3 * spread, name


def test_without_gradients_the_base_layers_output_alone_is_written_to() -> None:
    """`addmm_` works in place: neither the input nor a parameter may change, and a second run gives the same."""
    model = lora()
    fuse_lora(model)
    before, x = copy.deepcopy(model.state_dict()), torch.randn(3, 24)
    kept = x.clone()
    with torch.no_grad():
        first, second = model(x), model(x)
    assert torch.equal(first, second) and torch.equal(x, kept)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "changes", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=lambda changes: next(iter(changes))
)
def test_what_is_not_plain_is_left_to_peft(changes: dict[str, Any], fallbacks: list[Any]) -> None:
    own, fused = both(lora(**changes))
    assert len(fallbacks) == 4
    assert all(torch.equal(value, fused[name]) for name, value in own.items())


def test_disabled_merged_and_several_adapters_are_left_to_peft(fallbacks: list[Any]) -> None:
    x = torch.randn(3, 24)
    model = lora()
    fuse_lora(model)
    base = Two()
    base.load_state_dict({name: value for name, value in plain_state(model).items()})
    with model.disable_adapter():
        assert torch.equal(model(x), base(x))
    assert len(fallbacks) == 2
    adapted = model(x)
    assert len(fallbacks) == 2 and not torch.allclose(adapted, base(x), atol=1e-2)
    model.merge_adapter()
    torch.testing.assert_close(model(x), adapted, atol=1e-4, rtol=1e-4)
    model.unmerge_adapter()
    assert len(fallbacks) == 4
    model.add_adapter("other", LoraConfig(r=2, target_modules=["first", "second"]))
    draw(model)
    model.base_model.set_adapter(["default", "other"])
    two = model(x)
    assert len(fallbacks) == 6
    model.base_model.set_adapter("default")
    assert not torch.allclose(model(x), two, atol=1e-2) and len(fallbacks) == 6


def plain_state(model: Any) -> dict[str, torch.Tensor]:
    """The base layers' weights by their own names."""
    state = model.base_model.model.state_dict()
    return {name.replace(".base_layer", ""): value for name, value in state.items() if "lora_" not in name}
