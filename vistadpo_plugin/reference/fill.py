"""The reference's forward over all rows that a cache does not know, once, before the first step; all ranks share it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from accelerate import Accelerator
from llamafactory.extras import logging
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import TrainerCallback

from vistadpo_plugin.data.batches.collator import VistaCollator
from vistadpo_plugin.data.batches.known_scores import RowScores
from vistadpo_plugin.data.batches.pairing import PairedRows, PairedSampler
from vistadpo_plugin.reference.cache import ReferenceCache
from vistadpo_plugin.scoring.scorer import ReferenceScores

logger = logging.get_logger("llamafactory.vistadpo")


def missing_rows(rows: PairedRows, cache: ReferenceCache, collator: VistaCollator) -> list[tuple[int, int]]:
    """(row, mate) of the rows whose file is absent or lacks a sequence, mates together."""
    missing = []
    for pair in PairedSampler(rows, shuffle=False, mates_together=True):
        names = {
            term: {f"{view}/{answer}" for view, answer in pairs if view}
            for term, pairs in collator.scored(rows[pair]).items()
        }
        if cache.missing(rows.reference_keys[pair[0]], set().union(*names.values()), names.get("token", ())):
            missing.append(pair)
    return missing


class FillReferenceCache(TrainerCallback):
    """Completes the cache when the model is wrapped and ready, and the first step is not yet done.

    `score` is the reference's forward: a batch of the collator to its scores. `datasets` are the rows of the run, each
    with its pairing fixed.
    """

    def __init__(
        self,
        cache: ReferenceCache,
        score: Callable[[dict[str, Any]], ReferenceScores],
        collator: VistaCollator,
        datasets: Iterable[PairedRows],
        accelerator: Accelerator,
    ):
        self.cache, self.score, self.datasets, self.accelerator = cache, score, list(datasets), accelerator
        self.collator = copy.copy(collator)
        self.collator.cache = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for rows in self.datasets:
            missing = missing_rows(rows, self.cache, self.collator)
            self.accelerator.wait_for_everyone()  # nobody writes while another still looks what is missing
            logger.info_rank0(
                f"Reference cache {self.cache.folder}: {len(rows) - len(missing)} of {len(rows)} rows known, "
                f"{len(missing)} to compute."
            )
            if missing:
                self._fill(rows, missing, args, hide=args.disable_tqdm or not state.is_local_process_zero)
            self.accelerator.wait_for_everyone()  # rows of one file may be trained and evaluated

    def _fill(self, rows: PairedRows, missing: list[tuple[int, int]], args: Any, hide: bool) -> None:
        size, ranks = args.per_device_train_batch_size, self.accelerator.num_processes
        batches = [missing[first : first + size] for first in range(0, len(missing), size)]
        # Every rank runs as many forwards as the others, as wrappers that spread parameters want it.
        batches += list(islice(batches * ranks, -len(batches) % ranks))
        loader = DataLoader(
            rows,
            batch_sampler=batches[self.accelerator.process_index :: ranks],
            collate_fn=self.collator,
            num_workers=args.dataloader_num_workers,
        )
        for batch in tqdm(loader, desc="reference log-probs", unit="batch", disable=hide):
            for index, known in zip(batch["rows"].tolist(), _by_row(batch, self.score(batch)), strict=True):
                self.cache.write(rows.reference_keys[index], known)


def _by_row(batch: dict[str, Any], scores: ReferenceScores) -> list[RowScores]:
    """The scores of a batch row by row, by the names of the sequences."""
    rows = [RowScores({}, {}) for _ in batch["rows"]]
    log_probs = scores.log_probs.tolist()
    for number, (place, name) in enumerate(batch["names"]):
        rows[place].log_probs[name] = log_probs[number]
    for group, hidden in zip(batch["groups"], scores.hidden, strict=True):
        hidden = hidden.cpu()
        owners = group["answers"]["sequence"][group["answers"]["token_term"]]
        for number in owners.unique().tolist():
            place, name = batch["names"][number]
            rows[place].hidden[name] = hidden[owners == number]
    return rows
