"""What runs inside vLLM's workers: the position ids of Qwen2-VL and Qwen2.5-VL as transformers counts them.

Text behind a video begins, in transformers 5, where the larger side of its grid ends; vLLM lets it begin behind the
largest of the three axes, as transformers 4 did. A video of more time steps than its grid is wide would have other
positions than in training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class TrainedPositions:
    """vLLM's `worker_extension_cls`: methods that every worker gains."""

    def take_trained_positions(self) -> None:
        """From now on the model's position ids are those of training, where vLLM counts otherwise."""
        model = type(self.model_runner.get_model())
        if hasattr(model, "iter_mm_grid_thw"):
            model.get_mrope_input_positions = trained_positions


def trained_positions(model: Any, input_tokens: list[int], mm_features: list[Any]) -> tuple[torch.Tensor, int]:
    """Position ids (3, n) of the prompt, and what to add to a token's number for those behind it.

    transformers' `get_rope_index` of Qwen2-VL and Qwen2.5-VL; `model` and `mm_features` are vLLM's.
    """
    parts, told, position = [], 0, 0

    def tell(until: int) -> None:
        nonlocal told, position
        parts.append(np.broadcast_to(np.arange(until - told) + position, (3, until - told)))
        told, position = until, position + until - told

    for offset, steps, height, width, seconds in model.iter_mm_grid_thw(mm_features):
        tell(offset)
        grid = np.indices((steps, height, width)).reshape(3, -1)
        grid[0] = (grid[0] * seconds).astype(np.int64)
        parts.append(grid + position)
        told, position = offset + grid.shape[1], position + max(height, width)
    tell(len(input_tokens))
    positions = np.concatenate(parts, axis=1)
    return torch.from_numpy(positions), int(positions.max()) + 1 - len(input_tokens)
