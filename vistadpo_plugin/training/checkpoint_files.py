"""Whether a checkpoint is whole, judged by what is in its folder.

A kill inside a save leaves a folder that is named like any checkpoint. A whole one has all that the run would load, and
each of these files can be opened: JSON parses, a safetensors file is as long as its header says, what torch wrote has
its directory, which is its end. `trainer_state.json` is the last of them, see `VistaDPOTrainer`; the tokenizer and the
processor, which the host adds after it, are loaded from the model and not from here.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch.distributed.checkpoint import FileSystemReader
from transformers.trainer import TRAINER_STATE_NAME

from vistadpo_plugin.scoring.sharded import uses_fsdp

# One of each group has to be there: for the weights, and for optimizer, schedule and random numbers.
_Groups = tuple[tuple[str, ...], ...]
_RNG: _Groups = (("rng_state*.pth",),)
_STATES: _Groups = (("optimizer.pt",), ("scheduler.pt",), *_RNG)
_WEIGHTS: dict[str, _Groups] = {
    "adapter": (("adapter_config.json",), ("adapter_model.safetensors", "adapter_model.bin")),
    "model": (
        ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    ),
    "fsdp": (("pytorch_model_fsdp.bin", "pytorch_model_fsdp_0/.metadata"),),
    "deepspeed": (("latest",), ("*/*model_states.pt",), ("*/*optim_states.pt",)),
}
_GOING_ON: dict[str, _Groups] = {
    "adapter": _STATES,
    "model": _STATES,
    "fsdp": (("optimizer.bin", "optimizer_0/.metadata"), ("scheduler.pt",), *_RNG),
    "deepspeed": _RNG,
}


_JSON = (TRAINER_STATE_NAME, "adapter_config.json", "config.json")


@dataclass(frozen=True)
class Layout:
    """What a run looks for in a checkpoint: `kind` is a key of `_WEIGHTS`; `states`: optimizer, schedule and random
    numbers too."""

    kind: str
    states: bool = True


def layout_of(training_args: Any, finetuning_type: str) -> Layout:
    """The checkpoints that a run with these arguments writes and reads."""
    if getattr(training_args, "deepspeed_plugin", None) is not None:
        kind = "deepspeed"
    elif uses_fsdp(training_args):
        kind = "fsdp"
    else:
        kind = "adapter" if finetuning_type in ("lora", "oft") else "model"
    return Layout(kind, not training_args.save_only_model)


def fault(folder: Path, layout: Layout) -> str | None:
    """Why a run cannot go on from the checkpoint in `folder`, None when it is whole.

    Values are compared with nothing: a byte of the weights that changed later on is not found.
    """
    if not folder.is_dir():
        return "there is no such folder"
    try:
        return _lacking(folder, layout) or _unreadable(folder)
    except OSError as error:
        return f"{error.filename or folder} cannot be read: {error.strerror}"


def _lacking(folder: Path, layout: Layout) -> str | None:
    groups = (*_WEIGHTS[layout.kind], *(_GOING_ON[layout.kind] if layout.states else ()), (TRAINER_STATE_NAME,))
    for names in groups:
        if not _is_there(folder, names):
            return f"it has no {' or '.join(names)}"
    if layout.kind == "deepspeed":
        tag = (folder / "latest").read_text().strip()
        if not tag or not _is_there(folder, (f"{tag}/*model_states.pt",)):
            return f"`latest` names {tag!r}, which is not there"
    return None


def _is_there(folder: Path, names: Iterable[str]) -> bool:
    return any(path.is_file() for name in names for path in folder.glob(name))


def _unreadable(folder: Path) -> str | None:
    """The first file that is not what its name says it is."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        try:
            gone = _open(path)
        except (ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            return f"{name} is damaged or was not written to its end ({type(error).__name__}: {error})"
        except (SafetensorError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
            return f"{name} is damaged or was not written to its end ({error})"
        if gone is not None:
            return f"{name} names {gone}, which is missing or too short"
    return None


def _open(path: Path) -> str | None:
    """Read a file's beginning and end as far as they say that it is whole; returns another file it needs and lacks."""
    if path.name in _JSON:
        json.loads(path.read_text())
    elif path.name.endswith(".index.json"):
        names = sorted(set(json.loads(path.read_text())["weight_map"].values()))
        return next((name for name in names if not (path.parent / name).is_file()), None)
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="pt"):
            pass
    elif path.suffix in (".pt", ".pth", ".bin"):
        with zipfile.ZipFile(path):
            pass
    elif path.name == ".metadata":
        return _short_shard(path.parent)
    return None


def _short_shard(folder: Path) -> str | None:
    """Of a checkpoint of torch.distributed, a file that ends before the last piece it should hold."""
    ends: dict[str, int] = {}
    for piece in FileSystemReader(folder).read_metadata().storage_data.values():
        ends[piece.relative_path] = max(ends.get(piece.relative_path, 0), piece.offset + piece.length)
    for name, end in sorted(ends.items()):
        if not (folder / name).is_file() or (folder / name).stat().st_size < end:
            return name
    return None
