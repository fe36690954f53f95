"""Parameters spread over ranks (ZeRO-3, FSDP2): the same work on every rank, and whole weights where they are needed.

A forward of a module whose parameters are spread gathers them from all ranks, and waits for them. Rows differ in the
views they show, so ranks would run their vision towers, and (where answers are rows of their own) their language models
a different number of times, and wait for ever. `agree` says before a batch is scored how much the rank with the most
has to do; the others make up for it with runs that count for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled
from transformers.modeling_layers import GradientCheckpointingLayer


def uses_fsdp(training_args: Any) -> bool:
    """Whether the recipe (`fsdp`), or `accelerate launch`, asks for FSDP."""
    return bool(training_args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def spreads_parameters(training_args: Any) -> bool:
    """Whether a rank holds only a part of every parameter."""
    return is_deepspeed_zero3_enabled() or uses_fsdp(training_args)


def refuse_fsdp1(training_args: Any) -> None:
    """FSDP's first version flattens parameters, so that no head and no tower can be asked by itself."""
    recipe = training_args.fsdp_config.get("version", 1) if training_args.fsdp else None
    version = os.environ.get("FSDP_VERSION", "1") if recipe is None else recipe
    if uses_fsdp(training_args) and int(version) != 2:
        raise ValueError(
            "`stage: vistadpo` goes with FSDP2 only. Set `fsdp_config: {version: 2, ...}` (as in "
            "recipes/vistadpo_videollava_fsdp2.yaml), or `fsdp_version: 2` in the file for `accelerate launch`."
        )


def from_first_rank(value: Any) -> Any:
    """What rank 0 has, on all ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def whole(parameter: Tensor) -> Tensor:
    """A copy of a parameter as if it were not spread; all ranks call it."""
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    if hasattr(parameter, "full_tensor"):
        return parameter.detach().full_tensor().clone()
    return parameter.detach().clone()


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two models' parameters are equal, spread or not; all ranks call it, and get rank 0's answer.

    Before FSDP wraps a model, rank 0 may be the only one that has read its weights.
    """
    if one.keys() != other.keys():
        return False
    answers = []  # each is worked out, as all ranks gather the same parameters
    for name, value in one.items():
        first, second = whole(value), whole(other[name])
        answers.append(first.shape == second.shape and torch.equal(first, second.to(first.device)))
    return from_first_rank(all(answers))


def refuse_adapted_head(head: torch.nn.Module) -> None:
    """A head that calls further modules would gather their parameters as often as a rank has chunks of answers."""
    if not isinstance(head, torch.nn.Linear):
        raise ValueError(
            f"The output head is a {type(head).__name__}, not a plain linear layer. Adapters on the head do not go "
            "with ZeRO-3 or FSDP in `stage: vistadpo`: remove `lm_head` from `lora_target` and `additional_target`, or "
            "use DDP or ZeRO-2."
        )


class WholeHead(torch.nn.Module):
    """A frozen copy of a linear output head with all its weights on every rank; all ranks make it together."""

    def __init__(self, head: torch.nn.Linear, device: torch.device):
        super().__init__()
        for name in ("weight", "bias"):
            parameter = getattr(head, name)
            if parameter is not None:
                value = whole(parameter).to(device)
                if is_fsdp_enabled() and not hasattr(parameter, "full_tensor"):
                    dist.broadcast(value, src=0)  # only rank 0 has read the checkpoint
                parameter = value
            self.register_buffer(name, parameter, persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., width) to logits; FSDP keeps parameters in float32 and computes in less."""
        bias = None if self.bias is None else self.bias.to(hidden.dtype)
        return F.linear(hidden, self.weight.to(hidden.dtype), bias)


@contextmanager
def adapter_off(model: torch.nn.Module) -> Iterator[None]:
    """The model below its adapter, for forwards without gradients.

    PEFT's own `disable_adapter` clears `requires_grad` as well. FSDP2 looks at that once, when it first gathers a
    parameter: after a first forward with PEFT's, no adapter would ever get a gradient.
    """
    layers = [module for module in model.modules() if hasattr(module, "_disable_adapters")]
    before = [layer._disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer._disable_adapters = value


def keep_gathered_weights(model: torch.nn.Module) -> None:
    """ZeRO-3: let gradient checkpointing hold on to frozen weights as they are when a layer runs again.

    Torch keeps for the backward pass a frozen parameter itself, and DeepSpeed empties that when its module is done
    (a trainable one is kept as an alias of its values): "recomputed metadata: shape [0]". So frozen ones become aliases
    too, for as long as their module runs.
    """
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
            for module in layer.modules():
                frozen = [name for name, p in module.named_parameters(recurse=False) if not p.requires_grad]
                if frozen:
                    module.forward = partial(_with_aliases, module, frozen, module.forward)


def _with_aliases(
    module: torch.nn.Module, names: list[str], forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    for name in names:
        module.__dict__[name] = module._parameters[name].detach()  # found before the parameter
    try:
        return forward(*args, **kwargs)
    finally:
        for name in names:
            del module.__dict__[name]


# How often the towers run: by method of `view_features.METHODS`.
Counts = dict[str, int]


@dataclass
class Work:
    """What one rank has to do for a batch.

    `forwards`: for each forward the views it encodes; `spare`: those of the forward that a rank with fewer repeats;
    `examples`: for each method the smallest view, as `describe` gives it.
    """

    forwards: list[Counts]
    spare: Counts
    examples: dict[str, dict[str, Any]]


@dataclass
class Agreement:
    """What every rank does: `forwards` as in `Work`, and `examples` to make up for missing views."""

    forwards: list[Counts]
    examples: dict[str, dict[str, Any]]


def agree(mine: Work) -> Agreement:
    """The most that any rank has to do, forward by forward; all ranks call it."""
    works: list[Work] = [mine] * dist.get_world_size()
    dist.all_gather_object(works, mine)
    examples: dict[str, dict[str, Any]] = {}
    for method in sorted({method for work in works for method in work.examples}):
        examples[method] = min(
            (work.examples[method] for work in works if method in work.examples), key=lambda e: e["elements"]
        )
    forwards = []
    for number in range(max(len(work.forwards) for work in works)):
        counts = [work.forwards[number] if number < len(work.forwards) else work.spare for work in works]
        forwards.append({method: max(count.get(method, 0) for count in counts) for method in examples})
    return Agreement(forwards, examples)


def describe(pixels: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """A view without its pixels (`inputs[pixels]`): enough for another rank to make an empty one like it."""
    value = inputs[pixels]
    rest = {name: one.cpu() if isinstance(one, Tensor) else one for name, one in inputs.items() if name != pixels}
    return {"pixels": pixels, "shape": value.shape, "dtype": value.dtype, "elements": value.numel(), "rest": rest}


def empty_view(example: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The inputs of a view like the one described, all black."""
    rest = {name: one.to(device) if isinstance(one, Tensor) else one for name, one in example["rest"].items()}
    return {example["pixels"]: torch.zeros(example["shape"], device=device, dtype=example["dtype"]), **rest}
