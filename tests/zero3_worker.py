"""What a rank of the ZeRO-3 tests runs: DeepSpeed made right on gloo, and whole gradients out of its shards."""

from __future__ import annotations

from typing import Any

import deepspeed
import torch
from capture import Gradients
from deepspeed.comm.torch import TorchBackend
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.utils import safe_get_full_grad

_WAITED = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_base",
    "all_reduce",
    "reduce_scatter_tensor",
    "broadcast",
)


def wait_for_every_handle() -> None:
    """DeepSpeed 0.16.9 waits for the last of several handles, which is enough on CUDA streams and not on gloo."""
    for name in _WAITED:
        start = getattr(TorchBackend, name)

        def waited(self: Any, *args: Any, start: Any = start, **kwargs: Any) -> Any:
            handle = start(self, *args, **kwargs)
            if handle is not None and hasattr(handle, "wait"):
                handle.wait()
            return handle

        setattr(TorchBackend, name, waited)


def compile_nothing() -> None:
    """DeepSpeed would build a C++ extension, for its inference between CPUs, while the ranks wait."""
    deepspeed.comm.torch.build_shm_op = lambda: None


class Zero3Gradients(Gradients):
    """DeepSpeed steps within the backward pass, so they are taken when its `step` begins."""

    def __init__(self) -> None:
        super().__init__()
        step = DeepSpeedEngine.step
        DeepSpeedEngine.step = lambda engine, *args, **kwargs: (self._keep(engine), step(engine, *args, **kwargs))[1]

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _keep(self, engine: Any) -> None:
        trainable = {name: p for name, p in engine.module.named_parameters() if p.requires_grad}
        found = {name: safe_get_full_grad(p) for name, p in trainable.items()}
        self.steps.append(
            {n: torch.zeros(trainable[n].ds_shape) if g is None else g.cpu().clone() for n, g in found.items()}
        )


def look(model: Any) -> dict[str, Any]:
    """How much of the parameters is here, and whether gathered they are what the checkpoint says."""
    named = dict(model.named_parameters())
    spread = {name: (p.ds_tensor.numel(), p.ds_numel) for name, p in named.items() if hasattr(p, "ds_id")}
    with deepspeed.zero.GatheredParameters(list(named.values())):
        whole = {name: p.detach().clone() for name, p in named.items()}
    return {"class": type(model).__name__, "spread": spread, "all": len(named), "weights": whole}
