"""Processed rows and the sampler that hands them out with their mates (see mates.py).

The sampler, which lives in the main process and knows the epoch, hands it to the workers with both indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from vistadpo_plugin.data.batches.likeness import Likeness
from vistadpo_plugin.data.batches.mates import NO_ROW, draw_rejected, pair_alike, pair_rows
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.processor import answer_ids
from vistadpo_plugin.data.views.score_keys import score_keys
from vistadpo_plugin.data.views.views import ViewBuilder


class Pick(NamedTuple):
    """What the sampler hands out: indices of a row and of its mate (or NO_ROW), and the epoch."""

    row: int
    mate: int
    epoch: int = 0


class PairedRows(GroundedRows, Dataset):
    """Processed rows with their groundings parsed once; an item is (row, its mate or None).

    `alike`, once it is set, says which videos look alike, and rows of these are mates.
    """

    def __init__(self, rows: Any, seed: int):
        super().__init__([GroundedRow.from_json(text) if text else None for text in rows["grounded"]])
        self.rows = rows
        self.seed = seed
        self.epoch = 0
        self.alike: Likeness | None = None
        self.reference_keys: list[list[dict[str, str]]] | None = None

    def __getitem__(self, pick: Pick) -> dict[str, Any]:
        """Columns of one row, plus `index`, `epoch`, `grounding` and `mate` (GroundedRow or None), its
        `reference_keys`, and the tokens of its `answers` by name."""
        index, mate, epoch = Pick(*pick)
        row = self.rows[index]
        return {
            **row,
            "index": index,
            "answers": answer_ids(row),
            "epoch": epoch,
            "grounding": self.drawn(index, self._drawing(epoch)),
            "mate": None if mate == NO_ROW else self.grounded[mate],
            "reference_keys": None if self.reference_keys is None else self.reference_keys[self._stage(epoch)][index],
        }

    def drawn(self, index: int, epoch: int) -> GroundedRow | None:
        """A row's grounding with the rejected views of its own that it has in an epoch, see `draw_rejected`."""
        row = self.grounded[index]
        return None if row is None else draw_rejected(row, self.seed, epoch)

    def fix_pairing(self, views: ViewBuilder) -> None:
        """Draw mates and rejected views once instead of every epoch, so that what is known of a row stays true.

        What changes by plan, from epoch to epoch until the last of its stages, has keys for each stage.
        """
        mates, view_keys = self.mates().tolist(), views.view_keys
        self.reference_keys = [
            [
                score_keys(
                    self.rows[index],
                    self.drawn(index, 0),
                    None if mate == NO_ROW else self.grounded[mate],
                    views,
                    view_keys.magnitude(stage),
                )
                for index, mate in enumerate(mates)
            ]
            for stage in range(view_keys.stages)
        ]

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader, also when it resumes in the middle of a run."""
        self.epoch = epoch

    def mates(self) -> np.ndarray:
        """The pairing of the current epoch, see `pair_rows` and `pair_alike`."""
        epoch = self._drawing(self.epoch)
        if self.alike is not None:
            return pair_alike(self.recordings, self.video_keys, self.alike, self.seed, epoch)
        return pair_rows(self.recordings, self.seed, epoch)

    def _stage(self, epoch: int) -> int:
        return min(epoch, len(self.reference_keys or [()]) - 1)

    def _drawing(self, epoch: int) -> int:
        """The epoch whose drawing an epoch has."""
        return epoch if self.reference_keys is None else 0


class PairedSampler(Sampler):
    """Rows with their mates (`Pick`), in an order drawn from (seed, epoch) or in file order.

    With `mates_together` a row is followed by its mate, as far as mates are mutual: in one micro-batch the mate's full
    video is the row's unrelated one, decoded, encoded and scored once for both.
    """

    def __init__(self, dataset: PairedRows, shuffle: bool, mates_together: bool):
        self.dataset = dataset
        self.shuffle = shuffle
        self.mates_together = mates_together

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Pick]:
        mates = self.dataset.mates()
        rows = np.arange(len(mates))
        together = rows[:, None]
        if self.mates_together:
            mutual = (mates != NO_ROW) & (mates[mates] == rows)
            together = [
                [row, mates[row]] if mutual[row] else [row] for row in rows if not mutual[row] or row < mates[row]
            ]
        order = range(len(together))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.dataset.seed + self.dataset.epoch)
            order = torch.randperm(len(together), generator=generator).tolist()
        for place in order:
            for row in together[place]:
                yield Pick(int(row), int(mates[row]), self.dataset.epoch)

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)
