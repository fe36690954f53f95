"""Activations that fit into memory are kept for the backward pass; only the rest is computed twice.

Gradient checkpointing runs every layer again in the backward pass, a quarter of a step. Plain DPO spends memory on
logits of the whole vocabulary at every position; what is not spent on that here goes into layers that run once.
The numbers stay the same, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

GIB = 2**30


class KeptActivations:
    """Stands before the checkpointing of a model's layers, and lets a layer go through without it while `budget`
    bytes last; `kept` counts those since `start`. What a layer will keep is told by the last that was kept, by bytes
    an element of its input; of the very first nobody knows."""

    def __init__(self, model: torch.nn.Module, budget: float):
        self.budget = budget
        self.kept = 0
        self.bytes_an_element = 0.0
        self.weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        for module in model.modules():
            again = getattr(module, "_gradient_checkpointing_func", None)
            if again is not None:
                module._gradient_checkpointing_func = self._keeping(again)

    def start(self) -> None:
        """The backward pass of the last batch has let go of everything."""
        self.kept = 0

    def _keeping(self, again: Callable[..., Any]) -> Callable[..., Any]:
        def layer(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            elements = args[0].numel()
            expected = self.bytes_an_element * elements
            if not self.budget or self.kept + expected > self.budget or not torch.is_grad_enabled():
                return again(function, *args, **kwargs)
            counted: set[int] = set()
            before = self.kept
            with saved_tensors_hooks(lambda tensor: self._count(tensor, counted), lambda tensor: tensor):
                output = function(*args, **kwargs)
            self.bytes_an_element = (self.kept - before) / elements
            return output

        return layer

    def _count(self, tensor: Tensor, counted: set[int]) -> Tensor:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place not in self.weights and place not in counted:
            counted.add(place)
            self.kept += storage.nbytes()
        return tensor.detach()  # autograd knows where it came from; kept itself it would hold on to its own graph
