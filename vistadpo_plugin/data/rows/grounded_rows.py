"""The grounded rows of a data set, as pairing and the counts of terms see them."""

from __future__ import annotations

from collections.abc import Sequence

from vistadpo_plugin.data.rows.grounding import GroundedRow


class GroundedRows:
    """Rows by index; None stands for a row without exactly one video."""

    def __init__(self, grounded: Sequence[GroundedRow | None]):
        self.grounded = grounded
        self.video_keys = [None if row is None else row.video_key for row in grounded]

    def __len__(self) -> int:
        return len(self.grounded)

    @property
    def has_mates(self) -> bool:
        """Whether there are two different videos to pair."""
        return len({key for key in self.video_keys if key is not None}) > 1
