"""The reference's forward over all rows that a cache does not know, once, before the first step; all ranks share it."""

from __future__ import annotations

import copy
from itertools import islice
from typing import TYPE_CHECKING, Any

from llamafactory.extras import logging
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import TrainerCallback

from vistadpo_plugin.data.batches.pairing import PairedRows, PairedSampler
from vistadpo_plugin.reference.cache import ReferenceCache, RowScores
from vistadpo_plugin.scoring.scorer import ReferenceScores
from vistadpo_plugin.scoring.view_features import Encoded

if TYPE_CHECKING:
    from vistadpo_plugin.training.trainer import VistaDPOTrainer

logger = logging.get_logger("llamafactory.vistadpo")


def missing_rows(rows: PairedRows, cache: ReferenceCache, collator: Any) -> list[tuple[int, int]]:
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
    """Completes the cache when the model is wrapped and ready, and the first step is not yet done."""

    def __init__(self, trainer: VistaDPOTrainer, cache: ReferenceCache):
        self.trainer, self.cache = trainer, cache

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        evaluated = trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else {"": trainer.eval_dataset}
        for rows in (trainer.train_dataset, *evaluated.values()):
            if rows is not None:
                self._fill(rows)
                trainer.accelerator.wait_for_everyone()  # rows of one file may be trained and evaluated

    def _fill(self, rows: PairedRows) -> None:
        trainer, args = self.trainer, self.trainer.args
        collator = copy.copy(trainer.data_collator)
        collator.cache = None
        missing = missing_rows(rows, self.cache, collator)
        trainer.accelerator.wait_for_everyone()  # nobody writes while another still looks what is missing
        logger.info_rank0(
            f"Reference cache {self.cache.folder}: {len(rows) - len(missing)} of {len(rows)} rows known, "
            f"{len(missing)} to compute."
        )
        if not missing:
            return
        size, ranks = args.per_device_train_batch_size, trainer.accelerator.num_processes
        batches = [missing[first : first + size] for first in range(0, len(missing), size)]
        # Every rank runs as many forwards as the others, as wrappers that spread parameters want it.
        batches += list(islice(batches * ranks, -len(batches) % ranks))
        loader = DataLoader(
            rows,
            batch_sampler=batches[trainer.accelerator.process_index :: ranks],
            collate_fn=collator,
            num_workers=args.dataloader_num_workers,
        )
        hide = args.disable_tqdm or not trainer.is_local_process_zero()
        for batch in tqdm(loader, desc="reference log-probs", unit="batch", disable=hide):
            self._score(rows, batch)

    def _score(self, rows: PairedRows, batch: dict[str, Any]) -> None:
        trainer = self.trainer
        batch = trainer._prepare_inputs(batch)
        with trainer.compute_loss_context_manager():
            scores = trainer.reference(trainer.model_wrapped, batch, Encoded())
        for index, known in zip(batch["rows"].tolist(), _by_row(batch, scores), strict=True):
            self.cache.write(rows.reference_keys[index], known)


def _by_row(batch: dict[str, Any], scores: ReferenceScores) -> list[RowScores]:
    """The scores of a batch row by row, by the names of the sequences."""
    rows = [RowScores({}, {}) for _ in batch["rows"]]
    log_probs = scores.log_probs.tolist()
    for number, (place, name) in enumerate(batch["names"]):
        rows[place].log_probs[name] = log_probs[number]
    for group, hidden in zip(batch["groups"], scores.hidden, strict=True):
        owners = group["answers"]["sequence"][group["answers"]["token_term"]]
        for number in owners.unique().tolist():
            place, name = batch["names"][number]
            rows[place].hidden[name] = hidden[owners == number]
    return rows
