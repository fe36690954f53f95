"""Fused RMS norms against the same norms spelled out by the models' own code."""

from __future__ import annotations

import pytest
import torch
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRMSNorm

from vistadpo_plugin.scoring.fast.fused_norm import fuse_norms

WIDTH, EPSILON = 48, 1e-5


def norm(cls: type[torch.nn.Module] = LlamaRMSNorm, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(0)
    made = cls(WIDTH, EPSILON)
    with torch.no_grad():
        made.weight.copy_(torch.rand(WIDTH) + 0.5)
    return made.to(dtype)


def by_hand(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """weight * x / sqrt(mean of squares + epsilon), in float64."""
    x, weight = x.double(), weight.double()
    return weight * x / ((x * x).sum(-1, keepdim=True) / WIDTH + EPSILON).sqrt()


@pytest.mark.parametrize("cls", [LlamaRMSNorm, Qwen3VLTextRMSNorm])
def test_values_and_gradients_are_the_formulas(cls: type[torch.nn.Module]) -> None:
    """Also where the mean of squares is as small as epsilon. A sum of 48 float32 terms is off by 48 units at most."""
    made = norm(cls)
    assert fuse_norms(torch.nn.ModuleList([made])) == 1
    scales = torch.tensor([1e-3, 1.0, 1e3]).view(1, 3, 1)
    x = (torch.randn(2, 3, WIDTH) * scales).requires_grad_()
    direction = torch.randn(2, 3, WIDTH)
    got = torch.autograd.grad((made(x) * direction).sum(), (x, made.weight))
    expected = torch.autograd.grad((by_hand(x, made.weight) * direction.double()).sum(), (x, made.weight))
    bound = 48 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(made(x).double(), by_hand(x, made.weight), rtol=bound, atol=0)
    for one, other in zip(got, expected, strict=True):
        assert (one - other).abs().max() <= bound * other.abs().max()


def test_in_bfloat16_it_rounds_once() -> None:
    """Half a unit of 8 bits away from the formula; the model's own code, which rounds twice, is farther somewhere."""
    made = norm(dtype=torch.bfloat16)
    x = torch.randn(4, 200, WIDTH).bfloat16()
    expected, own = by_hand(x, made.weight), made(x)
    fuse_norms(torch.nn.ModuleList([made]))
    half_unit = torch.finfo(torch.bfloat16).eps / 2
    torch.testing.assert_close(made(x).double(), expected, rtol=half_unit * 1.01, atol=0)
    assert ((own.double() - expected).abs() > half_unit * 1.01 * expected.abs()).any()


def test_other_norms_stay_as_they_are() -> None:
    """Gemma's weight is an offset from 1; a layer norm has no such epsilon."""
    assert fuse_norms(torch.nn.ModuleList([norm(GemmaRMSNorm), torch.nn.LayerNorm(WIDTH)])) == 0


def test_hidden_states_of_another_precision_go_the_models_way() -> None:
    """A float32 weight over bfloat16 states: the model's product is float32."""
    made = norm()
    x = torch.randn(1, 5, WIDTH).bfloat16()
    own = made(x)
    assert fuse_norms(torch.nn.ModuleList([made])) == 1 and own.dtype == torch.float32
    assert torch.equal(made(x), own)
