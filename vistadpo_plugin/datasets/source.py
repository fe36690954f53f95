"""What a data card says of the annotations it was built from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where the annotations come from, and under what terms."""

    title: str
    repository: str
    license: dict[str, str]
    terms: tuple[str, ...]
    rules: tuple[str, ...]
