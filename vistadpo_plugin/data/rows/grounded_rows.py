"""The grounded rows of a data set, as pairing and the counts of terms see them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.recordings import recordings


class GroundedRows:
    """Rows by index; None stands for a row without exactly one video."""

    def __init__(self, grounded: Sequence[GroundedRow | None]):
        self.grounded = grounded
        self.video_keys = [None if row is None else row.video_key for row in grounded]

    def __len__(self) -> int:
        return len(self.grounded)

    @cached_property
    def recordings(self) -> list[str | None]:
        """The recording each row is about, see `recordings`: rows of one are no mates."""
        return recordings(self.grounded)

    @property
    def has_mates(self) -> bool:
        """Whether there are two different recordings to pair."""
        return len({key for key in self.recordings if key is not None}) > 1
