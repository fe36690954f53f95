"""The reference's forward over all rows that a cache does not know, once, before the first step; all ranks share it."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from accelerate import Accelerator
from llamafactory.extras import logging
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import TrainerCallback

from vistadpo_plugin.data.batches.collator import VistaCollator
from vistadpo_plugin.data.batches.known_scores import ViewScores, of_outside
from vistadpo_plugin.data.batches.pairing import PairedRows, PairedSampler, Pick
from vistadpo_plugin.reference.cache import ReferenceCache
from vistadpo_plugin.scoring.scorer import ReferenceScores
from vistadpo_plugin.scoring.sharded import from_first_rank

logger = logging.get_logger("llamafactory.vistadpo")


@dataclass(frozen=True)
class Missing:
    """A row with its mate, and the sequences (`view/answer`) of which a cache does not know what the reference says."""

    pick: Pick
    names: frozenset[str]


def missing_rows(rows: PairedRows, cache: ReferenceCache, collator: VistaCollator, stage: int) -> list[Missing]:
    """The rows of which the cache lacks a sequence of a stage (see `fix_pairing`), mates together."""
    missing = []
    for drawn in PairedSampler(rows, shuffle=False, mates_together=True):
        pick = drawn._replace(epoch=stage)
        row = rows[pick]
        answers, hidden = defaultdict(set), defaultdict(set)
        for term, pairs in collator.scored(row).items():
            for view, answer in pairs:
                if view is not None:
                    answers[view].add(answer)
                    if term == "token":
                        hidden[view].add(answer)
        names = {
            f"{view}/{answer}"
            for view in answers
            for answer in cache.lacking(row["reference_keys"][view], answers[view], hidden[view])
        }
        if names:
            missing.append(Missing(pick, frozenset(names)))
    return missing


class _WhatIsMissing(Dataset):
    """The rows by `Missing`, each with the sequences that are `wanted` of it."""

    def __init__(self, rows: PairedRows):
        self.rows = rows

    def __getitem__(self, missing: Missing) -> dict[str, Any]:
        return {**self.rows[missing.pick], "wanted": missing.names}


class FillReferenceCache(TrainerCallback):
    """Completes the cache when the model is wrapped and ready, and the first step is not yet done.

    `score` is the reference's forward: a batch of the collator to its scores. `datasets` are the rows of the run, each
    with its pairing fixed. `scored` counts the answers that the reference had to score, over all ranks.
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
        self.scored = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for rows in self.datasets:
            for stage in range(len(rows.reference_keys)):
                self._complete(rows, stage, args, state)

    def _complete(self, rows: PairedRows, stage: int, args: Any, state: Any) -> None:
        # One rank looks, so that all agree; meanwhile nobody writes.
        first = state.is_world_process_zero
        missing = from_first_rank(missing_rows(rows, self.cache, self.collator, stage) if first else None)
        self._say_damaged()
        logger.info_rank0(
            f"Reference cache {self.cache.folder}: {len(rows) - len(missing)} of {len(rows)} rows known, "
            f"{len(missing)} to compute" + (f" of epoch {stage + 1}." if stage else ".")
        )
        self.scored += sum(len(one.names) for one in missing)
        if missing:
            self._fill(rows, missing, stage, args, hide=args.disable_tqdm or not state.is_local_process_zero)
        self.accelerator.wait_for_everyone()  # rows of one file may be trained and evaluated

    def _say_damaged(self) -> None:
        if self.cache.damaged:
            (path, reason), *more = self.cache.damaged.items()
            logger.warning_rank0(
                f"Reference cache {self.cache.folder} has {1 + len(more)} damaged files, which are computed again: "
                f"{path.relative_to(self.cache.folder)} ({reason})" + (", ..." if more else ".")
            )
            self.cache.damaged.clear()

    def _fill(self, rows: PairedRows, missing: list[Missing], stage: int, args: Any, hide: bool) -> None:
        size, ranks = args.per_device_train_batch_size, self.accelerator.num_processes
        batches = [missing[first : first + size] for first in range(0, len(missing), size)]
        # Every rank runs as many forwards as the others, as wrappers that spread parameters want it.
        batches += list(islice(batches * ranks, -len(batches) % ranks))
        loader = DataLoader(
            _WhatIsMissing(rows),
            batch_sampler=batches[self.accelerator.process_index :: ranks],
            collate_fn=self.collator,
            num_workers=args.dataloader_num_workers,
        )
        for batch in tqdm(loader, desc="reference log-probs", unit="batch", disable=hide):
            for index, known in zip(batch["rows"].tolist(), _by_row(batch, self.score(batch)), strict=True):
                for view, one in known.items():
                    where = f"{rows.rows[index]['where']}, view `{view}`"
                    self.cache.write(rows.reference_keys[stage][index][view], one, where)


def _by_row(batch: dict[str, Any], scores: ReferenceScores) -> list[dict[str, ViewScores]]:
    """The scores of a batch row by row, by view."""
    rows: list[dict[str, ViewScores]] = [defaultdict(lambda: ViewScores({}, {})) for _ in batch["rows"]]
    log_probs, outside = scores.log_probs.tolist(), scores.outside.tolist()
    marked = {n for group in batch["groups"] for n in _owners(group, "outside").tolist()}
    for number, (place, name) in enumerate(batch["names"]):
        view, answer = name.split("/")
        rows[place][view].log_probs[answer] = log_probs[number]
        if number in marked:
            rows[place][view].log_probs[of_outside(answer)] = outside[number]
    for group, hidden in zip(batch["groups"], scores.hidden, strict=True):
        hidden = hidden.cpu()
        owners = _owners(group, "token_term")
        for number in owners.unique().tolist():
            place, name = batch["names"][number]
            view, answer = name.split("/")
            rows[place][view].hidden[answer] = hidden[owners == number]
    return rows


def _owners(group: dict[str, Any], which: str) -> Tensor:
    """The sequences to which those tokens of a group belong that `which` points to."""
    return group["answers"]["sequence"][group["answers"][which]]
