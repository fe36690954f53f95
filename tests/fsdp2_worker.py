"""What a rank of the FSDP2 tests runs: accelerate made to shard on a CPU, and whole gradients out of its shards."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.state import AcceleratorState, DistributedType, PartialState
from capture import Gradients


def shard_on_cpu() -> None:
    """accelerate 1.11 turns its FSDP plugin on for GPUs only; on CPUs a recipe that asks for FSDP is silently DDP."""
    initialize = AcceleratorState.__init__

    def forced(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        initialize(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = forced


class Fsdp2Gradients(Gradients):
    """The shards of all ranks together."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.steps.append(
            {
                name: torch.zeros(p.shape) if p.grad is None else p.grad.full_tensor().cpu().clone()
                for name, p in trainable.items()
            }
        )


def look(model: Any) -> dict[str, Any]:
    """Which class the model has become, and how much of its parameters is here."""
    named = dict(model.named_parameters())
    spread = {name: (p.to_local().numel(), p.numel()) for name, p in named.items() if hasattr(p, "to_local")}
    wrapped = sorted({type(m).__name__ for m in model.modules() if type(m).__name__.startswith("FSDP")})
    return {"class": type(model).__name__, "spread": spread, "all": len(named), "wrapped": wrapped}
