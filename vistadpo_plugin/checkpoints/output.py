"""A converted checkpoint: what it holds, and how it gets onto the disk whole or not at all."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.checkpoints.weights import Weight, write_weights


@dataclass(frozen=True)
class Converted:
    """`model_class` is transformers' (or our) class of it; `dropped` counts weights left behind, by reason; `notes` are
    sentences to be shown."""

    model_class: type
    config: Any
    processor: Any
    weights: dict[str, Weight]
    dropped: Counter[str]
    notes: list[str]


def check_output(folder: Path) -> None:
    """Raise ValueError where `folder` cannot be written without touching what is there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already; give another --output, or remove it.")


def write_checkpoint(converted: Converted, folder: Path, file_size: str) -> int:
    """Write everything `from_pretrained` wants; returns the number of weight files. A failure leaves no `folder`."""
    from transformers import GenerationConfig

    check_output(folder)
    config, tokenizer = converted.config, converted.processor.tokenizer
    config.architectures = [converted.model_class.__name__]
    config.dtype = Counter(weight.dtype for weight in converted.weights.values()).most_common(1)[0][0]
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config.update(ids)
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True)
    try:
        files = write_weights(part, converted.weights, file_size)
        config.save_pretrained(part)
        converted.processor.save_pretrained(part)
        GenerationConfig(**ids).save_pretrained(part)
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part)
        raise
    return files
