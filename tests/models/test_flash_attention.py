"""`flash_attn: fa2` with transformers 5.6.0 and models without attention sinks. The kernel itself needs a GPU: in its
place stands torch's attention, on the same tensors; everything around it is transformers' own."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations import flash_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import vistadpo_plugin.host  # noqa: F401
from vistadpo_plugin.models.flash_attention import allow_no_sinks
from vistadpo_plugin.scoring.attention import share_prefixes, sharing_obstacle

needs_the_broken_one = pytest.mark.skipif(
    importlib.metadata.version("transformers") != "5.6.0", reason="transformers has mended it"
)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sinks that reach the kernel, call by call."""
    sinks: list[Any] = []

    def kernel(query: Any, key: Any, value: Any, mask: Any, *, is_causal: bool, s_aux: Any, **kwargs: Any) -> Any:
        sinks.append(s_aux)
        query, key, value = (states.transpose(1, 2) for states in (query, key, value))
        made = F.scaled_dot_product_attention(query, key, value, is_causal=is_causal, enable_gqa=True)
        return made.transpose(1, 2)

    monkeypatch.setattr(flash_attention, "_flash_attention_forward", kernel)
    return sinks


@pytest.fixture
def model() -> LlamaForCausalLM:
    import llamafactory.model.loader  # noqa: F401  whoever loads a model by the host has the guard

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 32}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, attn_implementation="sdpa"))


@needs_the_broken_one
def test_transformers_alone_fails(given: list[Any], model: LlamaForCausalLM) -> None:
    """What we guard against, so that the guard goes when its reason does."""
    guarded = ALL_ATTENTION_FUNCTIONS["flash_attention_2"]
    states = torch.zeros(1, 4, 3, 4, dtype=torch.bfloat16)
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'to'"):
        guarded.__wrapped__(model.model.layers[0].self_attn, states, states, states, None)


def test_a_model_without_sinks_runs_and_is_given_none(given: list[Any], model: LlamaForCausalLM) -> None:
    ids = torch.arange(7).reshape(1, 7)
    expected = model(ids, labels=ids)
    expected.loss.backward()
    gradient = model.model.layers[0].self_attn.q_proj.weight.grad.clone()
    model.zero_grad()
    model.config._attn_implementation_internal = "flash_attention_2"
    made = model(ids, labels=ids)
    made.loss.backward()
    assert given == [None, None]
    torch.testing.assert_close(made.logits, expected.logits)
    torch.testing.assert_close(model.model.layers[0].self_attn.q_proj.weight.grad, gradient)


def test_rows_that_are_not_packed_go_to_the_kernel(given: list[Any], model: LlamaForCausalLM) -> None:
    """Also once prefixes may be shared: packed rows, which do without it, are in tests/scoring/test_packing.py."""
    ids = torch.arange(7).reshape(1, 7)
    expected = model(ids).logits
    model.config._attn_implementation_internal = "flash_attention_2"
    assert sharing_obstacle(model) is None
    share_prefixes(model)
    torch.testing.assert_close(model(ids).logits, expected)
    assert given == [None, None]


def test_sinks_reach_the_kernel_in_its_precision(given: list[Any], model: LlamaForCausalLM) -> None:
    states, sinks = torch.zeros(1, 4, 3, 4, dtype=torch.bfloat16), torch.tensor([1.0, 2.0, 3.0, 4.0])
    forward = ALL_ATTENTION_FUNCTIONS["flash_attention_2"]
    forward(model.model.layers[0].self_attn, states, states, states, None, s_aux=sinks)
    (seen,) = given
    assert seen.dtype == torch.bfloat16 and seen.tolist() == sinks.tolist()


@needs_the_broken_one
def test_every_flash_attention_is_guarded_once(model: LlamaForCausalLM) -> None:
    before = dict(ALL_ATTENTION_FUNCTIONS)
    assert [name for name in before if before[name] is flash_attention.flash_attention_forward] == [
        "flash_attention_4",
        "flash_attention_3",
        "flash_attention_2",
    ]
    allow_no_sinks()
    assert dict(ALL_ATTENTION_FUNCTIONS) == before
    assert not hasattr(before["flash_attention_2"].__wrapped__, "__wrapped__")


def test_other_versions_are_left_alone(monkeypatch: pytest.MonkeyPatch, model: LlamaForCausalLM) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.6.1" if name == "transformers" else real(name))
    plain = lambda *args, **kwargs: None  # noqa: E731
    monkeypatch.setattr(flash_attention, "flash_attention_forward", plain)
    allow_no_sinks()
    assert flash_attention.flash_attention_forward is plain
