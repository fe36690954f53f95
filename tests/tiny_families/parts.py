"""What the tiny models have alike."""

from __future__ import annotations

from typing import Any

import torch


def decoder(tokenizer: Any, context: int, **more: Any) -> dict[str, Any]:
    """The language model's configuration, `more` beside or instead of it: two layers, 64 wide."""
    return {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }


def sharpen(model: torch.nn.Module, tower: str = "vision", linear: float = 6.0, embedding: float = 20.0) -> None:
    """Scale all weights but the tower's up, so that answers depend on what is seen and who sees it."""
    seen: set[int] = set()
    with torch.no_grad():
        for name, module in model.named_modules():
            scaled = isinstance(module, torch.nn.Linear | torch.nn.Embedding) and id(module.weight) not in seen
            if scaled and (tower not in name or "merger" in name):
                seen.add(id(module.weight))  # once, where the head is the embeddings
                module.weight.mul_(embedding if isinstance(module, torch.nn.Embedding) else linear)
