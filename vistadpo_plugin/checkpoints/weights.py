"""Weights of a checkpoint, read and written file by file: a 13B model need not fit into memory, one file of it does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_SOURCES = (INDEX, "pytorch_model.bin.index.json", SINGLE, "pytorch_model.bin")
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Weight:
    """A weight that `make` reads or computes when it is wanted; `shape` and `dtype` are known before."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Tensor]


def read_weights(folder: Path) -> dict[str, Weight]:
    """The weights of a checkpoint folder by name: safetensors or `torch.save` files, one or several with an index.

    Raises:
        ValueError: there are none, or the index names files or weights that are not there.
    """
    first = next((folder / name for name in _SOURCES if (folder / name).is_file()), None)
    if first is None:
        raise ValueError(f"{folder} has no weights: one of {', '.join(_SOURCES)} is expected.")
    if first.suffix != ".json":
        return _read_file(first)
    index = json.loads(first.read_text(encoding="utf-8"))["weight_map"]
    weights: dict[str, Weight] = {}
    for name in sorted(set(index.values())):
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is not there, though {first.name} names it; download it again.")
        weights.update(_read_file(folder / name))
    absent = sorted(index.keys() - weights.keys())
    if absent:
        raise ValueError(f"{first} names {len(absent)} weights that its files lack, such as {absent[0]}.")
    return weights


def _read_file(path: Path) -> dict[str, Weight]:
    if path.suffix == ".safetensors":
        file = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return {
            name: Weight(tuple(part.get_shape()), _DTYPES[part.get_dtype()], partial(file.get_tensor, name))
            for name, part in slices.items()
        }
    # Mapped into memory: a weight's pages are read when it is copied.
    tensors: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return {name: Weight(tuple(tensor.shape), tensor.dtype, partial(_copy, tensor)) for name, tensor in tensors.items()}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)


def write_weights(folder: Path, weights: dict[str, Weight], file_size: int | str) -> int:
    """Write `weights` to safetensors files of at most `file_size` (bytes, or "5GB") with an index; returns how many.

    Raises ValueError for a size that is none.
    """
    outline = {name: torch.empty(weight.shape, dtype=weight.dtype, device="meta") for name, weight in weights.items()}
    split = split_torch_state_dict_into_shards(outline, max_shard_size=file_size)
    for file, names in split.filename_to_tensors.items():
        save_file({name: weights[name].make() for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        total = sum(math.prod(weight.shape) * weight.dtype.itemsize for weight in weights.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(split.tensor_to_filename.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return len(split.filename_to_tensors)
