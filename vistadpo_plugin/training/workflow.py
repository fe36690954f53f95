"""run_vistadpo: the host's run_dpo, told with our parts."""

from __future__ import annotations

import copy
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras import logging
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.extras.ploting import plot_loss
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.trainer_utils import create_modelcard_and_push, create_ref_model

from vistadpo_plugin.data.batches.collator import VistaCollator
from vistadpo_plugin.data.batches.pairing import PairedRows
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.reference.cache import ReferenceCache, identity, weights_hash
from vistadpo_plugin.reference.fill import missing_rows
from vistadpo_plugin.run_record.plots import plot_margins
from vistadpo_plugin.run_record.report import RunStart, hash_data, start_report
from vistadpo_plugin.run_record.resolved_recipe import resolve
from vistadpo_plugin.scoring.attention import share_prefixes, sharing_obstacle
from vistadpo_plugin.scoring.sharded import WholeHead, from_first_rank, refuse_fsdp1, spreads_parameters
from vistadpo_plugin.training.bad_rows import SkippedRows, report_bad_rows, row_errors
from vistadpo_plugin.training.summary import summarize, term_rows
from vistadpo_plugin.training.trainer import VistaDPOTrainer

logger = logging.get_logger("llamafactory.vistadpo")


def run_vistadpo(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    callbacks: list[Any] | None = None,
    collator_class: type[VistaCollator] = VistaCollator,
    trainer_class: type[VistaDPOTrainer] = VistaDPOTrainer,
) -> None:
    """Train and evaluate as a recipe with `stage: vistadpo` says; the classes are what a benchmark exchanges."""
    parts = prepare(model_args, data_args, training_args, finetuning_args, training_args.do_train, collator_class)
    model, collator, datasets = parts.model, parts.collator, parts.datasets
    ref_model, cache, reference_head = _load_reference(
        model, datasets, collator, model_args, data_args, training_args, finetuning_args
    )
    if collator.sharing and ref_model is not None:
        share_prefixes(ref_model)

    trainer = trainer_class(
        model=model,
        ref_model=ref_model,
        args=training_args,
        finetuning_args=finetuning_args,
        data_collator=collator,
        skipped=parts.skipped,
        cache=cache,
        reference_head=reference_head,
        callbacks=callbacks,
        **datasets,
        **parts.tokenizer_module,
    )
    if training_args.do_train:
        if trainer.is_world_process_zero():
            run = _run_start(model_args, data_args, training_args, finetuning_args, datasets, parts.skipped)
            trainer.report = start_report(run)
            trainer.report.write()
        train_result = trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", train_result.metrics)
        trainer.save_metrics("train", train_result.metrics)
        trainer.save_state()
        if trainer.is_world_process_zero() and finetuning_args.plot_loss:
            _plot(trainer, datasets.get("eval_dataset"))
    if training_args.do_eval:
        metrics = trainer.evaluate(metric_key_prefix="eval")
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    if trainer.report is not None:
        trainer.report.finish(trainer.state.log_history)
    create_modelcard_and_push(trainer, model_args, data_args, training_args, finetuning_args)
    trainer.add_run_to_card()  # the host writes the card past the trainer where it does not push it


def _run_start(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    datasets: dict[str, Any],
    skipped: SkippedRows,
) -> RunStart:
    """What the report tells of the run; `datasets` by the host's names, one of them may be several by name."""
    rows = {
        (f"{name}_{key}" if key else name): part
        for name, dataset in datasets.items()
        for key, part in (dataset.items() if isinstance(dataset, dict) else [("", dataset)])
    }
    names = [*(data_args.dataset or []), *(data_args.eval_dataset or [])]
    return RunStart(
        output_dir=training_args.output_dir,
        skipped=Path(skipped.path),
        recipe=resolve(finetuning_args.given_keys, finetuning_args),
        model=model_args.model_name_or_path,
        adapter=model_args.adapter_name_or_path,
        ref_model=finetuning_args.ref_model,
        resumed_from=training_args.resume_from_checkpoint,
        device=training_args.device,
        world_size=training_args.world_size,
        weights=finetuning_args.weights,
        data=hash_data(names, data_args.dataset_dir, data_args.tokenized_path),
        rows={name: term_rows(part, finetuning_args) for name, part in rows.items()},
    )


@dataclass
class Parts:
    """What a run consists of before its trainer: `datasets` by the host's names, `skipped` for what breaks later on."""

    model: Any
    collator: VistaCollator
    datasets: dict[str, PairedRows | dict[str, PairedRows]]
    frames: FrameCounts
    skipped: SkippedRows
    tokenizer_module: dict[str, Any]


def prepare(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    trainable: bool,
    collator_class: type[VistaCollator] = VistaCollator,
) -> Parts:
    """Read and check the rows, then load the model; `trainable` is the host's: adapters stay apart from their base."""
    settle_arguments(model_args, data_args, training_args, finetuning_args)
    tokenizer_module = load_tokenizer(model_args)
    tokenizer, processor = tokenizer_module["tokenizer"], tokenizer_module["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    dataset_module = get_dataset(template, model_args, data_args, training_args, stage="rm", **tokenizer_module)
    frames = FrameCounts(template.mm_plugin, processor, finetuning_args)
    skipped = SkippedRows(training_args.output_dir)
    if training_args.should_save:
        skipped.start()
    datasets = {
        name: _paired(name, dataset, frames, data_args, training_args, finetuning_args, skipped)
        for name, dataset in dataset_module.items()
    }
    model = load_model(tokenizer, model_args, finetuning_args, trainable)
    collator = collator_class(
        template=template,
        model=model,
        pad_to_multiple_of=8,
        label_pad_token_id=IGNORE_INDEX,
        vista=finetuning_args,
        views=frames.builder(training_args.seed),
        cutoff_len=data_args.cutoff_len,
        sharing=_share_prefixes(model, finetuning_args),
        row_tokens=row_tokens(spreads_parameters(training_args), training_args.device.type == "cpu"),
        **tokenizer_module,
    )
    return Parts(model, collator, datasets, frames, skipped, tokenizer_module)


def settle_arguments(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """Refuse what cannot work, and set what has to hold when one step runs the model several times."""
    if data_args.streaming:
        raise ValueError(
            "`streaming: true` does not go with `stage: vistadpo`: pairing rows with other videos needs all rows. "
            "Remove it; rows are small, and videos are read when they are needed anyway."
        )
    if training_args.train_sampling_strategy == "group_by_length":
        raise ValueError("`train_sampling_strategy: group_by_length` does not go with `stage: vistadpo`; remove it.")
    if training_args.do_train and finetuning_args.finetuning_type in ("full", "freeze"):
        _refuse_adapter_folder(training_args.output_dir)
    refuse_fsdp1(training_args)
    # What a row's files hold is read while its row is processed; a cache of that would outlive a corrected file.
    data_args.overwrite_cache = True
    model_args.use_reentrant_gc = False  # reentrant checkpointing marks parameters ready once a forward under DDP
    if training_args.ddp_find_unused_parameters is None:
        training_args.ddp_find_unused_parameters = False
    if training_args.ddp_broadcast_buffers is None:
        # Broadcasting happens once a forward, and ranks whose rows lack a view run fewer forwards.
        training_args.ddp_broadcast_buffers = False


def _refuse_adapter_folder(output_dir: str) -> None:
    """A model beside an adapter's files is loaded as that adapter, and the host fails at its model card."""
    if os.path.isfile(os.path.join(output_dir, "adapter_config.json")):
        raise ValueError(
            f"`output_dir: {output_dir}` holds the adapter of an earlier LoRA run (adapter_config.json). A fully tuned "
            "model saved beside it would be loaded as that adapter. Name another folder, or delete this one."
        )


def _paired(
    name: str,
    dataset: Any,
    frames: FrameCounts,
    data_args: Any,
    training_args: Any,
    vista: Any,
    skipped: SkippedRows,
) -> PairedRows | dict[str, PairedRows]:
    """The processed rows without those that cannot be used, ready to be paired; says what they carry."""
    if isinstance(dataset, dict):
        return {
            key: _paired(f"{name}_{key}", part, frames, data_args, training_args, vista, skipped)
            for key, part in dataset.items()
        }
    if "grounded" not in dataset.column_names:
        raise ValueError(
            f"`tokenized_path: {data_args.tokenized_path}` was not written by a `stage: vistadpo` run. Remove the "
            "folder or name another one."
        )
    errors = row_errors(dataset, frames, data_args.cutoff_len)
    if errors:
        report_bad_rows(name, errors, len(dataset), vista, skipped if training_args.should_save else None)
        dataset = dataset.select([index for index in range(len(dataset)) if index not in errors])
    seed = training_args.seed if training_args.data_seed is None else training_args.data_seed
    rows = PairedRows(dataset, seed)
    logger.info_rank0("\n" + summarize(name.replace("_", " "), rows, vista, frames.describe()))
    return rows


def _load_reference(
    model: Any,
    datasets: dict[str, Any],
    collator: VistaCollator,
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
) -> tuple[Any | None, ReferenceCache | None, torch.nn.Module | None]:
    """The second model (None: the policy with its adapter off), the cache, and what stands for a model not loaded.

    A cache that knows all rows makes a second model superfluous: only its output head is needed, and the policy's own,
    as long as nothing is trained yet, is that.
    """
    folder, has_adapter = finetuning_args.vista_reference_cache, finetuning_args.finetuning_type == "lora"
    if folder is not None and not training_args.do_train:
        logger.warning_rank0("`vista_reference_cache` is for training: this run only evaluates and leaves it alone.")
    if finetuning_args.ref_model is None and not training_args.do_train:
        # As the host does; margins are then 0 by definition.
        logger.warning_rank0("No `ref_model` in an evaluation-only run: the model is its own reference.")
        return model, None, None
    if folder is None or not training_args.do_train:
        return create_ref_model(model_args, finetuning_args), None, None
    ref_model = None if finetuning_args.ref_model is None else create_ref_model(model_args, finetuning_args)
    # Where FSDP loads sparingly, only the first rank has read the weights.
    weights = from_first_rank(weights_hash(ref_model or model, trained=ref_model is None and has_adapter))
    parts = identity(
        weights, collator.tokenizer, collator.processor, model_args, data_args, training_args, finetuning_args
    )
    with training_args.main_process_first():
        cache = ReferenceCache(folder, parts)
    complete = _fix_pairings(datasets, cache, collator)
    collator.cache = cache
    if ref_model is not None or has_adapter:
        return ref_model, cache, None
    if complete:
        logger.info_rank0("The reference cache is complete: no second model is loaded.")
        head = model.get_output_embeddings()
        if spreads_parameters(training_args):
            return None, cache, WholeHead(head, training_args.device)
        return None, cache, copy.deepcopy(head).requires_grad_(False)
    return create_ref_model(model_args, finetuning_args), cache, None


def _fix_pairings(datasets: dict[str, Any], cache: ReferenceCache, collator: VistaCollator) -> bool:
    """Draw every pairing once; returns whether the cache knows all rows already."""
    parts = [part for rows in datasets.values() for part in (rows.values() if isinstance(rows, dict) else [rows])]
    for rows in parts:
        rows.fix_pairing()
    return not any(missing_rows(rows, cache, collator) for rows in parts)


def _share_prefixes(model: Any, vista: Any) -> bool:
    """Whether answers share their prefixes; says why not where the recipe wants it and the model cannot."""
    if not vista.vista_prefix_sharing:
        return False
    obstacle = sharing_obstacle(model)
    if obstacle is not None:
        logger.warning_rank0(
            f"{model.config.model_type}: {obstacle}. Every answer is a row of its own, which is slower."
        )
        return False
    share_prefixes(model)
    return True


def row_tokens(spread: bool, on_cpu: bool) -> int:
    """How long packed rows may get: enough to fill the device, and no more activations at a time than that takes."""
    if spread:
        return sys.maxsize  # every rank runs as many forwards as the others: one
    return 1536 if on_cpu else 16384


def _plot(trainer: VistaDPOTrainer, eval_dataset: Any) -> None:
    keys = ["loss", "rewards/accuracies"] if "response" in trainer.finetuning_args.terms else ["loss"]
    if isinstance(eval_dataset, dict):
        keys += [f"eval_{key}_loss" for key in eval_dataset]
    elif eval_dataset is not None:
        keys.append("eval_loss")
    plot_loss(trainer.args.output_dir, keys=keys)
    print("Figure saved at:", plot_margins(trainer.state.log_history, trainer.args.output_dir))
