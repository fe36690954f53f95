"""`flash_attn: fa2` under transformers 5.6.0, whose flash attention takes models without attention sinks for broken.

It calls `s_aux.to(...)` on the sinks of every model, also where there are none (`s_aux=None`, as in all our families),
and fails with "'NoneType' object has no attribute 'to'" in the first forward. 5.6.1 asks first; LLaMA-Factory
0.9.5 allows 5.6.0 at most. Here such a model hands over a stand-in whose `to` is None, which is what 5.6.1 passes on.
"""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

BROKEN = "5.6.0"


class _NoSinks:
    def to(self, *args: Any, **kwargs: Any) -> None:
        return None


def allow_no_sinks() -> None:
    """Guard the function for every implementation of flash attention that transformers knows; a no-op elsewhere."""
    if importlib.metadata.version("transformers") != BROKEN:
        return
    from transformers import modeling_utils
    from transformers.integrations import flash_attention, hub_kernels

    broken = flash_attention.flash_attention_forward
    if hasattr(broken, "__wrapped__"):
        return  # guarded already

    @functools.wraps(broken)
    def guarded(*args: Any, s_aux: Any = None, **kwargs: Any) -> Any:
        return broken(*args, s_aux=_NoSinks() if s_aux is None else s_aux, **kwargs)

    known = modeling_utils.ALL_ATTENTION_FUNCTIONS
    for name in [name for name in known if known[name] is broken]:
        known.register(name, guarded)
    for module in (flash_attention, hub_kernels, modeling_utils):
        module.flash_attention_forward = guarded
