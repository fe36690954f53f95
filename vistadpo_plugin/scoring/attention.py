"""Attention over packed prefix trees, put in the place of a language model's own.

The packed row of a micro-batch is a *forest*: a root, the tokens that all its trees share (the system prompt), and
trees side by side, each a causal trunk and branches with an ancestor mask (`data.batches.prefix_tree`). Trees do not
see each other, so attention runs tree by tree: root and trunk through the causal kernel, which needs no mask and skips
what lies above the diagonal, the few branch tokens with their small mask. No (length x length) mask exists. Without a
forest the functions here are transformers' own.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward

PREFIX = "vista_"

Forest = dict[str, Any]
"""`lengths`: of the root, then of the trunk and of the branches of every tree, as they stand in the packed row;
`masks`: for each tree bool (branch tokens, root and tree tokens), or None where it has no branches; `answers` int64:
the columns that predict an answer token."""


# Without cuDNN's, torch's first choice on Hopper: it makes a plan for every length it has not seen, which takes longer
# than a layer, and trees have other lengths every step (pytorch/pytorch#155958).
KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def sharing_obstacle(model: Any) -> str | None:
    """Why the prefixes of this model's sequences cannot be shared, as a sentence; None when they can."""
    text = model.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    attention = text._attn_implementation.removeprefix(PREFIX)
    if kinds != {"full_attention"}:
        return f"its layers have {', '.join(sorted(kinds - {'full_attention'}))}, which cannot follow branches"
    if getattr(text, "sliding_window", None) and not getattr(text, "layer_types", None):
        return "it has sliding-window attention, which cannot follow branches"
    rotary = (getattr(text, "rope_parameters", None) or {}).get("rope_type")
    if rotary in ("dynamic", "longrope"):
        return f"its rotary embedding ({rotary}) depends on how long a row is"
    if attention not in _ATTEND:
        return f"its attention implementation {attention} takes no mask of ancestors; set `flash_attn: sdpa`"
    if not model._supports_attention_backend:
        return "its model class does not let its attention be exchanged"
    return None


def share_prefixes(model: Any) -> None:
    """Let the language model of `model` take a `forest`. Raises ValueError where `sharing_obstacle` names one."""
    obstacle = sharing_obstacle(model)
    if obstacle is not None:
        raise ValueError(f"{type(model).__name__}: {obstacle}.")
    text = model.config.get_text_config()
    text._attn_implementation = PREFIX + text._attn_implementation.removeprefix(PREFIX)


def _tree_attention(
    in_trees: Any,
    alone: Any,
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    forest: Forest | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one packed row, (1, heads, tokens, width) to (1, tokens, heads, width); without a forest `alone`."""
    if forest is None:
        return alone(module, query, key, value, attention_mask, **kwargs)
    with sdpa_kernel(KERNELS):
        return _by_trees(in_trees, module, query, key, value, forest, **kwargs), None


def _by_trees(
    attend: Any, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, forest: Forest, **kwargs: Any
) -> Tensor:
    lengths = forest["lengths"]
    root, *parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [attend(module, *root, None, **kwargs)[0]] if lengths[0] else []
    for trunk, branches, mask in zip(parts[::2], parts[1::2], forest["masks"], strict=True):
        before = [torch.cat(pair, dim=2) for pair in zip(root, trunk, strict=True)] if lengths[0] else trunk
        # The root's queries come along so that queries and keys are the same tokens, and are left out again.
        outputs.append(attend(module, *before, None, **kwargs)[0][:, lengths[0] :])
        if mask is not None:
            keys, values = (torch.cat([before[i], branches[i]], dim=2) for i in (1, 2))
            outputs.append(attend(module, branches[0], keys, values, mask, **kwargs)[0])
    return torch.cat(outputs, dim=1)


def _eager(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """transformers' eager attention, which wants an additive mask, also for the causal case."""
    if attention_mask is None:
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    if attention_mask.dtype == torch.bool:
        hidden = torch.finfo(query.dtype).min
        attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill(~attention_mask, hidden)
    return eager_attention_forward(module, query, key, value, attention_mask, **kwargs)


def _flash(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """The function that transformers has for `flash_attn: fa2` at the time of the call: we guard it, see `models`."""
    return ALL_ATTENTION_FUNCTIONS["flash_attention_2"](*args, **kwargs)


# Within trees, and without. The package flash-attn takes no masks; torch's own FlashAttention-2 does trunks instead.
_ATTEND = {
    "sdpa": (sdpa_attention_forward, sdpa_attention_forward),
    "eager": (_eager, _eager),
    "flash_attention_2": (sdpa_attention_forward, _flash),
}


def _register() -> None:
    for name, functions in _ATTEND.items():
        AttentionInterface.register(PREFIX + name, functools.partial(_tree_attention, *functions))
        # Without a forest (a model that generates, say) the usual masks are wanted.
        AttentionMaskInterface.register(PREFIX + name, ALL_MASK_ATTENTION_FUNCTIONS[name])


_register()
