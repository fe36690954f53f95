"""What a reference computes with beside its weights, as one hash: the cache's numbers depend on it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# How a model was stored or is trained, not what it computes.
_NO_NUMBERS = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache")


def configuration_hash(model: Any) -> str:
    """A hash of the model's configuration (rotary base, the tower's layer that is looked at, pooling ...)."""
    text = json.dumps(_numbers(model.config.to_dict()), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _numbers(value: Any) -> Any:
    """Dropout is off in a reference."""
    if not isinstance(value, dict):
        return value
    return {key: _numbers(one) for key, one in value.items() if key not in _NO_NUMBERS and "drop" not in str(key)}
