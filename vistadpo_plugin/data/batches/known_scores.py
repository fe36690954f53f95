"""What is known of rows before they are scored: the form in which a batch can bring it along."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


def of_outside(answer: str) -> str:
    """The name under which is known what an answer's tokens outside of its phrases add to its log-probability."""
    return f"{answer} outside phrases"


@dataclass
class ViewScores:
    """The reference on one view of a row: by answer log-probability in nats, and hidden states (tokens, width).

    An answer with phrases has a second log-probability, see `of_outside`.
    """

    log_probs: dict[str, float]
    hidden: dict[str, Tensor]

    def not_finite(self) -> str | None:
        """An answer with a value that is no finite number."""
        for answer, value in self.log_probs.items():
            if not math.isfinite(value):
                return answer
        return next((answer for answer, states in self.hidden.items() if not states.isfinite().all()), None)


class KnownScores(Protocol):
    """Anything that has the reference's scores of views by their key, see `data.views.score_keys`."""

    def read(self, key: str, answers: Iterable[str]) -> ViewScores:
        """The scores of a view, with `answers` among them. Raises ValueError when they are not there."""
