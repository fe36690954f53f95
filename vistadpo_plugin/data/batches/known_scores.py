"""What is known of rows before they are scored: the form in which a batch can bring it along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass
class RowScores:
    """The reference on one row: by (view, answer) log-probability in nats, and hidden states (tokens, width)."""

    log_probs: dict[str, float]
    hidden: dict[str, Tensor]


class KnownScores(Protocol):
    """Anything that has the reference's scores of rows by their key, see `data.rows.row_key`."""

    def read(self, key: str) -> RowScores:
        """The scores of a row. Raises ValueError when they are not there."""
