"""A step of ours never makes the processor wait for the device: a GPU would stand still meanwhile, once a call."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run_recipe
from torch.utils._python_dispatch import TorchDispatchMode

import vistadpo_plugin
from vistadpo_plugin.training.trainer import VistaDPOTrainer

OURS = str(Path(vistadpo_plugin.__file__).parent)
TORCH = str(Path(torch.__file__).parent)
# A number read off a tensor (item, tolist, bool), and shapes that depend on values.
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim"}
OBJECTIVE = {"pref_ftx": 0.5, "ld_alpha": 0.5, "vista_loss": "discopop"}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_"}


class Waits(TorchDispatchMode):
    """Operations whose result the processor has to know, each with the place that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        by_mask = name in INDEXED and any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])
        if name in WAITS or by_mask:
            frames = [f for f in traceback.extract_stack()[:-1] if not f.filename.startswith((TORCH, __file__))]
            self.asked.append((name, f"{frames[-1].filename}:{frames[-1].lineno}"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "changes",
    [{}, {"vista_prefix_sharing": False}, {"bf16": True}, {"disable_gradient_checkpointing": True}, OBJECTIVE],
)
def test_no_line_of_ours_waits(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Forward of both models, loss and backward. The models' own code asks a few times, which shows that the count
    counts."""
    waits = Waits()
    step = VistaDPOTrainer.training_step

    def watched(*args: Any, **kwargs: Any) -> Any:
        with waits:
            return step(*args, **kwargs)

    monkeypatch.setattr(VistaDPOTrainer, "training_step", watched)
    run_recipe({**recipe, **changes, "max_steps": 1})
    assert waits.asked
    assert [place for _, place in waits.asked if place.startswith(OURS)] == []
