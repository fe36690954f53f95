"""How much a model looks: log-probability margins on grounded rows, without generating a word.

One pass over the batches that training makes of the same rows: same views, prompts, tokens and sharing of prefixes. The
margins are raw log-probabilities of one model, log p(y_w|preferred view) - log p(y_w|rejected view), not relative to a
reference, so that a model has them before any tuning, and tuning shows as a difference.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from llamafactory.hparams import get_train_args
from llamafactory.train.trainer_utils import create_ref_model
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import vistadpo_plugin.host  # noqa: F401  patches the host where the start-up hook is off
from vistadpo_plugin.data.batches.pairing import PairedRows, PairedSampler
from vistadpo_plugin.data.rows.processor import answer_ids
from vistadpo_plugin.evaluation.probe.table import BASE, TUNED, ProbedRow
from vistadpo_plugin.reference.reference import Reference
from vistadpo_plugin.run_record.provenance import DECIDING, file_sha256, versions
from vistadpo_plugin.scoring.attention import share_prefixes
from vistadpo_plugin.scoring.scorer import Scorer
from vistadpo_plugin.scoring.view_features import Encoded
from vistadpo_plugin.training.workflow import Parts, prepare
from vistadpo_plugin.validation.source import find_source

DEFAULTS = {"video_maxlen": 8, "cutoff_len": 4096, "per_device_eval_batch_size": 2, "output_dir": "saves/probe"}
"""Where the host's are not meant for this: Video-LLaVA's frames and context; mates share a batch of two."""

_SET_HERE = {
    "stage": "vistadpo",
    "do_train": False,
    "do_eval": True,
    "eval_dataset": "probe",
    "vista_token_weight": 0.0,  # scores nothing that the response term does not, but on one more view
    "disable_gradient_checkpointing": True,
    "report_to": "none",
}
_NOT_HERE = (
    "dataset",
    "dataset_dir",
    "tokenized_path",
    "val_size",
    "eval_on_each_dataset",
    "vista_reference_cache",
    "create_new_adapter",
)

_REJECTED_VIEWS = (
    "vista_video_negative",
    "vista_mates",
    "vista_clip_negative",
    "vista_temporal_magnitude",
    "vista_object_negative",
    "vista_mask_fill",
)

_PAIRS = {"response": {"relevant": (0, 1), "irrelevant": (0, 2)}}
"""Levels of a term: which of the sequences it scores (see `collator.SCORED`) are compared."""


@dataclass(frozen=True)
class Probe:
    """The rows in file order, (place, reason) of those left out, and what a reader has to know of the run."""

    rows: list[ProbedRow]
    skipped: list[tuple[str, str]]
    about: dict[str, Any]


def run_probe(data: str, keys: dict[str, Any]) -> Probe:
    """Score the rows of the file `data` under a recipe's `keys`.

    The base is the model with its adapter off, or the recipe's `ref_model`; without either there is one model only.
    Raises ValueError (RowError for a row) for keys, rows and videos that cannot be used.
    """
    _check_keys(keys)
    source = find_source(data, None)
    with tempfile.TemporaryDirectory() as folder:
        entry = {"file_name": os.path.abspath(data), "formatting": "vistadpo"}
        Path(folder, "dataset_info.json").write_text(json.dumps({"probe": entry}), encoding="utf-8")
        recipe = {**DEFAULTS, "media_dir": source.media_dir, **keys, **_SET_HERE, "dataset_dir": folder}
        model_args, data_args, training_args, finetuning_args, _ = get_train_args(recipe)
        data_args.use_vistadpo = True
        has_adapter = model_args.adapter_name_or_path is not None
        parts = prepare(model_args, data_args, training_args, finetuning_args, trainable=has_adapter)
    ref_model = None
    if finetuning_args.ref_model is not None:
        ref_model = create_ref_model(model_args, finetuning_args)
        if parts.collator.sharing:
            share_prefixes(ref_model)
    for model in (parts.model, ref_model):
        if model is not None:
            model.eval()
            if not getattr(model, "is_quantized", False):
                model.to(training_args.device)
    precision = contextlib.nullcontext()
    if training_args.bf16 or training_args.fp16:
        precision = torch.autocast(training_args.device.type, dtype=model_args.compute_dtype)
    rows: dict[int, ProbedRow] = {}
    with torch.no_grad(), precision:
        for found in _passes(parts, ref_model, has_adapter or ref_model is not None, training_args):
            rows.update(found)
    if not any(row.margins[BASE] for row in rows.values()):
        raise ValueError(
            f"{data}: none of {len(rows)} rows has a level that is on: see the counts above for the reasons."
        )
    about = {
        "data": data,
        "data_sha256": {file: file_sha256(file) for file in source.files},
        "model": model_args.model_name_or_path,
        "adapter": model_args.adapter_name_or_path,
        "ref_model": finetuning_args.ref_model,
        "template": data_args.template,
        "views": parts.frames.describe(),
        "rejected_views": {key: getattr(finetuning_args, key) for key in _REJECTED_VIEWS},
        "seed": training_args.seed,
        "dtype": str(model_args.compute_dtype).removeprefix("torch."),
        "skipped": sorted(parts.skipped.known),
        "versions": versions(*DECIDING),
    }
    return Probe([rows[index] for index in sorted(rows)], sorted(parts.skipped.known), about)


def _check_keys(keys: dict[str, Any]) -> None:
    own = [key for key in keys if key in _SET_HERE or key in _NOT_HERE]
    if own:
        raise ValueError(f"`{own[0]}` is not for the probe, which sets its data and stage itself; remove it.")


def _passes(parts: Parts, ref_model: Any, two: bool, training_args: Any) -> Iterator[dict[int, ProbedRow]]:
    """Batch by batch the rows by their index in the data set; `two`: there is a base beside the model."""
    dataset: PairedRows = parts.datasets["eval_dataset"]
    loader = DataLoader(
        dataset,
        batch_size=training_args.per_device_eval_batch_size,
        sampler=PairedSampler(dataset, shuffle=False, mates_together=True),
        collate_fn=parts.collator,
        num_workers=training_args.dataloader_num_workers,
    )
    scorer = Scorer(parts.model)
    reference = Reference(parts.model, scorer, ref_model, ref_model) if two else None
    for batch in tqdm(loader, desc="probing", unit="batch"):
        parts.skipped.add("eval_dataset", batch["skipped"])
        batch, encoded = send_to_device(batch, training_args.device), Encoded()
        log_probs = {}
        if reference is not None:
            log_probs[BASE] = reference(parts.model, batch, encoded).log_probs
        log_probs[BASE if reference is None else TUNED] = scorer(parts.model, batch, encoded).log_probs
        yield {index: row for index, row in _rows(batch, log_probs, dataset)}


def _rows(batch: dict[str, Any], log_probs: dict[str, Tensor], dataset: PairedRows) -> Iterator[tuple[int, ProbedRow]]:
    """(index, row) of every row of a batch; `log_probs` (S,) of its sequences by model."""
    pairs: list[dict[str, tuple[int, int]]] = [{} for _ in batch["rows"]]
    for term, scored in batch["terms"].items():
        for place, numbers in zip(scored["row"].tolist(), scored["sequences"].tolist(), strict=True):
            for level, (first, second) in _PAIRS.get(term, {term: (0, 1)}).items():
                if numbers[second] >= 0:
                    pairs[place][level] = (numbers[first], numbers[second])
    names = [name for _, name in batch["names"]]
    owned: list[list[int]] = [[] for _ in batch["rows"]]
    for number, (place, _) in enumerate(batch["names"]):
        owned[place].append(number)
    values = {which: found.tolist() for which, found in log_probs.items()}
    for place, index in enumerate(batch["rows"].tolist()):
        row = dataset.rows[index]
        for which, found in values.items():
            if not all(math.isfinite(found[number]) for number in owned[place]):
                raise ValueError(
                    f"{row['where']}: the {which} model gives an answer a log-probability that is no finite number. "
                    "Its weights or its precision are at fault; try infer_dtype=float32."
                )
        yield (
            index,
            ProbedRow(
                row["where"],
                {name: len(ids) for name, ids in answer_ids(row).items()},
                {which: {names[number]: found[number] for number in owned[place]} for which, found in values.items()},
                {
                    which: {level: found[first] - found[second] for level, (first, second) in pairs[place].items()}
                    for which, found in values.items()
                },
            ),
        )
