"""What a result rests on, said alike in every report: versions of packages, and hashes of files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path

PACKAGES = ("vistadpo-plugin", "llamafactory", "torch", "transformers", "peft", "trl", "deepspeed", "av", "python")
DECIDING = ("vistadpo-plugin", "llamafactory", "transformers", "torch")
"""Packages that decide what a given model says to a given input."""


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
