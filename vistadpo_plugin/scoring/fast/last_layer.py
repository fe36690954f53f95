"""The last layer's MLP only where an answer token is predicted.

Nothing after the last layer looks at any other position, and an MLP maps each position for itself: leaving out the
thousands of video positions there changes no answer. (The layer's attention needs their keys and values.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LastLayer:
    """Stands before the last decoder layer of a language model, and does something only for a packed row."""

    def __init__(self, layer: torch.nn.Module):
        self.columns: Tensor | None = None
        self.layer_forward, self.mlp_forward = layer.forward, layer.mlp.forward
        layer.forward, layer.mlp.forward = self._layer, self._mlp

    def _layer(self, *args: Any, forest: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        if forest is None:
            return self.layer_forward(*args, **kwargs)
        # Set here and not once a step: gradient checkpointing calls the layer again during the backward pass.
        self.columns = forest["answers"]
        try:
            return self.layer_forward(*args, forest=forest, **kwargs)
        finally:
            self.columns = None

    def _mlp(self, hidden: Tensor) -> Tensor:
        if self.columns is None:
            return self.mlp_forward(hidden)
        there = self.mlp_forward(hidden[:, self.columns])
        return torch.zeros_like(hidden, dtype=there.dtype).index_copy(1, self.columns, there)
