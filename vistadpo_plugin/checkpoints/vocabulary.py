"""Tokens that transformers' model needs and the authors' tokenizer lacks, and rows of weights for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vistadpo_plugin.checkpoints.weights import Weight

MATRICES = ("model.language_model.embed_tokens.weight", "lm_head.weight")
MULTIPLE = 64  # of rows, as transformers' own Video-LLaVA has them (32,064 for 32,003 tokens)


def add_tokens(tokenizer: Any, names: list[str]) -> list[int]:
    """Ids of the special tokens `names`; those that the tokenizer lacks get the next ones."""
    from transformers import AddedToken

    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names], special_tokens=True)
    return tokenizer.convert_tokens_to_ids(names)


def grow_vocabulary(weights: dict[str, Weight], tokenizer: Any) -> int:
    """Give the vocabulary's matrices in `weights` a row for each token; returns how many rows they have.

    They stay as they are where they suffice, else they get the number of tokens, rounded up to 64.
    """
    # What is no matrix is left for the check of shapes.
    present = [name for name in MATRICES if name in weights and len(weights[name].shape) == 2]
    rows = min((weights[name].shape[0] for name in present), default=0)
    if rows < len(tokenizer):
        rows = -(-len(tokenizer) // MULTIPLE) * MULTIPLE
    for name in present:
        weights[name] = _grown(weights[name], rows)
    return rows


def _grown(weight: Weight, rows: int) -> Weight:
    """The matrix with so many rows; new ones are the mean of the old.

    None of them matters: pixels replace the embeddings of placeholders, padding is masked, and no answer has either.
    """
    if weight.shape[0] >= rows:
        return weight

    def make() -> Tensor:
        old = weight.make()
        mean = old.mean(dim=0, keepdim=True, dtype=torch.float32).to(old.dtype)
        return torch.cat([old, mean.expand(rows - len(old), -1)])

    return Weight((rows, *weight.shape[1:]), weight.dtype, make)
