"""A question as the host prepared it, in the form that vLLM's engine takes: nothing is sampled or processed again.

Token ids, the placeholders of every frame among them, and pixels are to the last bit what the host's own inference
would hand to `generate`.
"""

from __future__ import annotations

import hashlib
from itertools import groupby
from typing import Any

import torch
from transformers import BatchFeature
from vllm.inputs import MultiModalInput
from vllm.multimodal.inputs import MultiModalKwargsItems, PlaceholderRange

from vistadpo_plugin.evaluation.vllm_backend.support import Support


def engine_input(
    ids: list[int], media: dict[str, Any], support: Support, token: int, processor: Any
) -> MultiModalInput:
    """One question: `ids` of its prompt, `media` as the host names them, the `token` that stands for what is seen.

    `processor`: vLLM's own of the model, which knows how the tensors of an item go into a batch.
    """
    named = _as_vllm_names_them(media, support, token)
    fields = processor._get_mm_fields_config(BatchFeature(named), {})
    items = MultiModalKwargsItems.from_hf_inputs(BatchFeature(named), fields)
    places = _frames(ids, token) if support.modality == "image" else [_video(ids, token, support.lead)]
    digest = _digest(named)
    return MultiModalInput(
        type="multimodal",
        prompt_token_ids=ids,
        mm_kwargs=items,
        mm_hashes={support.modality: [f"{digest}-{number}" for number in range(len(places))]},
        mm_placeholders={support.modality: places},
    )


def _as_vllm_names_them(media: dict[str, Any], support: Support, token: int) -> dict[str, Any]:
    named = dict(media)
    if "second_per_grid_ts" in named:
        # Whole seconds, as Qwen2.5-VL's `get_rope_index` in transformers 5 takes them.
        named["second_per_grid_ts"] = torch.tensor([int(seconds) for seconds in named["second_per_grid_ts"]])
    if support.modality == "image":
        named |= {"image_num_patches": torch.ones(len(named["pixel_values"]), dtype=torch.long)}
        named |= {"image_token_id": torch.tensor(token)}
    return named


def _video(ids: list[int], token: int, lead: int) -> PlaceholderRange:
    """From `lead` tokens before the first of a video to its last; words may stand between its frames."""
    seen = torch.tensor(ids) == token
    first, last = (int(place) for place in seen.nonzero().flatten()[[0, -1]])
    first -= lead
    inside = seen[first : last + 1]
    return PlaceholderRange(first, len(inside), None if inside.all() else inside)


def _frames(ids: list[int], token: int) -> list[PlaceholderRange]:
    """Every run of the token: a frame each."""
    places, start = [], 0
    for is_seen, run in groupby(ids, key=lambda one: one == token):
        length = len(list(run))
        if is_seen:
            places.append(PlaceholderRange(start, length))
        start += length
    return places


def _digest(media: dict[str, Any]) -> str:
    """vLLM keeps features of what it has seen by this name."""
    digest = hashlib.sha256()
    for key, value in sorted(media.items()):
        tensor = torch.as_tensor(value).contiguous()
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy() if tensor.numel() else b"")
    return digest.hexdigest()
