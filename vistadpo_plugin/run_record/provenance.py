"""What a result rests on, said alike in every report: versions of packages, and hashes of files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path

PACKAGES = ("vistadpo-plugin", "llamafactory", "torch", "transformers", "peft", "trl", "deepspeed", "av", "python")
DECIDING = ("vistadpo-plugin", "llamafactory", "transformers", "torch")
"""Packages that decide what a given model says to a given input."""
COMPUTING = ("torch", "transformers", "vistadpo-plugin")
"""Packages that decide the last digit of a number."""
MEASURED = ("vistadpo-plugin", "llamafactory", "torch", "transformers", "peft")
"""Packages that decide how fast a step is."""

_DECIDING_FILES = (
    "*.safetensors",
    "pytorch_model*.bin",
    "adapter_model*.bin",
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "*processor_config.json",
    "tokenizer*",
)
_BLOCK, _BLOCKS = 2**16, 64


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by name, of all `PACKAGES` where none is named; what is not installed is left out."""
    found = {}
    for package in packages or PACKAGES:
        try:
            found[package] = platform.python_version() if package == "python" else importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: str | None) -> str | None:
    """A hash of the weights and configurations in a model or adapter folder (several: separated by commas).

    Of files above 4 MB it takes 64 blocks of 64 kB spread over the file, which no training leaves as they were. None
    for what is no folder here: a name on the hub.
    """
    folders = [Path(path.strip()) for path in (paths or "").split(",")]
    if not paths or not all(folder.is_dir() for folder in folders):
        return None
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted({path for pattern in _DECIDING_FILES for path in folder.glob(pattern) if path.is_file()}):
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with path.open("rb") as file:
                if size <= _BLOCK * _BLOCKS:
                    digest.update(file.read())
                    continue
                for index in range(_BLOCKS):
                    file.seek((size - _BLOCK) * index // (_BLOCKS - 1))
                    digest.update(file.read(_BLOCK))
    return digest.hexdigest()
