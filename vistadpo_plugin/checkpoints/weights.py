"""Weights of a checkpoint, read and written file by file: a 13B model need not fit into memory, one file of it does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vistadpo_plugin.checkpoints.reading import read_json, reading

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
        ValueError: there are none, a file is damaged or holds more than tensors, or the index names files or weights
            that are not there, or files outside of the folder.
    """
    first = next((folder / name for name in _SOURCES if (folder / name).is_file()), None)
    if first is None:
        raise ValueError(f"{folder} has no weights: one of {', '.join(_SOURCES)} is expected.")
    if first.suffix != ".json":
        return _read_file(first)
    index = _read_index(first)
    weights: dict[str, Weight] = {}
    for file in sorted(set(index.values())):
        if not (folder / file).is_file():
            raise ValueError(f"{folder / file} is not there, though {first.name} names it; download it again.")
        found = _read_file(folder / file)
        weights |= {name: weight for name, weight in found.items() if index.get(name, file) == file}
    absent = sorted(index.keys() - weights.keys())
    if absent:
        raise ValueError(f"{first} names {len(absent)} weights that its files lack, such as {absent[0]}.")
    return weights


def _read_index(path: Path) -> dict[str, str]:
    """Weight -> file beside the index. Raises ValueError for one that says something else."""
    index = read_json(path).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise ValueError(f"{path} has no `weight_map` from weights to files; fetch it again.")
    for file in index.values():
        # As written: hubs' caches have links in the folder, which point elsewhere.
        if any(kind(file).is_absolute() or ".." in kind(file).parts for kind in (PurePosixPath, PureWindowsPath)):
            raise ValueError(f"{path} names {file!r}, which is outside of its folder; such a checkpoint is not read.")
    return index


def _read_file(path: Path) -> dict[str, Weight]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    # Mapped into memory: a weight's pages are read when it is copied.
    with reading(path, "weights saved by `torch.save`"):
        tensors: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout is torch.strided
        for name, tensor in tensors.items()
    ):
        raise ValueError(f"{path} is no mapping from names to tensors; it is not a file of weights.")
    held = path.stat().st_size
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.itemsize > held:
            raise ValueError(f"{path} holds less than its {name} of {list(tensor.shape)} would take; fetch it again.")
    return {
        name: Weight(tuple(tensor.shape), tensor.dtype, partial(_copy, path, tensor))
        for name, tensor in tensors.items()
    }


def _read_safetensors(path: Path) -> dict[str, Weight]:
    with reading(path, "safetensors"):
        file = safe_open(path, framework="pt")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        kinds = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    for name, (_, kind) in kinds.items():
        if kind not in _DTYPES:
            raise ValueError(f"{path}: {name} is in {kind}, which is not read; one of {', '.join(_DTYPES)} is.")
    return {
        name: Weight(shape, _DTYPES[kind], partial(_fetch, path, file, name)) for name, (shape, kind) in kinds.items()
    }


def _fetch(path: Path, file: Any, name: str) -> Tensor:
    with reading(path, "safetensors"):
        return file.get_tensor(name)


def _copy(path: Path, tensor: Tensor) -> Tensor:
    with reading(path, "weights"):
        return tensor.clone(memory_format=torch.contiguous_format)


def write_weights(folder: Path, weights: dict[str, Weight], file_size: int | str) -> int:
    """Write `weights` to safetensors files of at most `file_size` (bytes, or "5GB") with an index; returns how many.

    Raises ValueError for a size that is none, OSError where a file cannot be written.
    """
    outline = {name: torch.empty(weight.shape, dtype=weight.dtype, device="meta") for name, weight in weights.items()}
    split = split_torch_state_dict_into_shards(outline, max_shard_size=file_size)
    for file, names in split.filename_to_tensors.items():
        tensors = {name: weights[name].make() for name in names}
        try:
            save_file(tensors, folder / file, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{folder / file} cannot be written: {error}") from None
    if split.is_sharded:
        total = sum(math.prod(weight.shape) * weight.dtype.itemsize for weight in weights.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(split.tensor_to_filename.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return len(split.filename_to_tensors)
