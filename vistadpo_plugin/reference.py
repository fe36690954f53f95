"""The frozen side: the policy with its adapter off, or a second model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from vistadpo_plugin.scoring import Scores, score


def reference_scores(
    model: Any, unwrapped: Any, ref_model: Any | None, groups: list[dict[str, Any]], distributions: set[int]
) -> Scores:
    """Score a batch with the reference, without gradients.

    `model` is the (wrapped) policy, `unwrapped` the same below its wrappers, `ref_model` the second model or None for
    "the policy with its adapter off".
    """
    adapter_off: AbstractContextManager = unwrapped.disable_adapter() if ref_model is None else nullcontext()
    with torch.no_grad(), adapter_off:
        return score(model if ref_model is None else ref_model, groups, distributions)
