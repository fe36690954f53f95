"""run_vistadpo: the host's run_dpo, told with our parts.

The host's groups of arguments are read here, and each part is handed what it needs of them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras import logging
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.extras.ploting import plot_loss
from llamafactory.model import load_config, load_model, load_tokenizer
from llamafactory.train.trainer_utils import create_modelcard_and_push, create_ref_model

from vistadpo_plugin.arguments import pairwise_loss
from vistadpo_plugin.data.batches.collator import VistaCollator
from vistadpo_plugin.data.batches.likeness import Likeness, find_likeness, look_at, videos_of
from vistadpo_plugin.data.batches.pairing import PairedRows
from vistadpo_plugin.data.rows.processor import COLUMNS
from vistadpo_plugin.data.tokens.control_tokens import TokenKinds
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.reference.cache import Conditions
from vistadpo_plugin.reference.load import ReferenceKeys, load_reference
from vistadpo_plugin.run_record.plots import plot_margins
from vistadpo_plugin.run_record.provenance import COMPUTING, versions
from vistadpo_plugin.run_record.report import RunStart, hash_data, start_report
from vistadpo_plugin.run_record.resolved_recipe import resolve
from vistadpo_plugin.scoring.attention import share_prefixes, sharing_obstacle
from vistadpo_plugin.scoring.sharded import refuse_fsdp1, spreads_parameters
from vistadpo_plugin.training.bad_rows import SkippedRows, report_bad_rows, row_errors
from vistadpo_plugin.training.host_keys import refuse_host_keys
from vistadpo_plugin.training.objective import Objective
from vistadpo_plugin.training.resume import settle_resume
from vistadpo_plugin.training.summary import control_report, phrase_report, summarize, term_rows
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
    arguments = (model_args, data_args, training_args, finetuning_args)
    settle_resume(training_args, finetuning_args)
    parts = prepare(*arguments, training_args.do_train, collator_class)
    reference = load_reference(
        _reference_keys(training_args, finetuning_args),
        _conditions(*arguments, parts),
        parts.model,
        parts.collator,
        list(parts.by_name().values()),
        lambda: create_ref_model(model_args, finetuning_args),
    )
    if parts.collator.sharing and reference.model is not None:
        share_prefixes(reference.model)
    trainer = trainer_class(
        model=parts.model,
        ref_model=reference.model,
        args=training_args,
        finetuning_args=finetuning_args,
        data_collator=parts.collator,
        objective=_objective(finetuning_args),
        skipped=parts.skipped,
        activation_memory=finetuning_args.vista_activation_memory,
        cache=reference.cache,
        reference_head=reference.head,
        callbacks=callbacks,
        **parts.datasets,
        **parts.tokenizer_module,
    )
    if training_args.do_train:
        if trainer.is_world_process_zero():
            trainer.report = start_report(_run_start(*arguments, parts))
            trainer.report.write()
        _train(trainer, training_args.resume_from_checkpoint, finetuning_args.plot_loss)
    if training_args.do_eval:
        _evaluate(trainer)
    if trainer.report is not None:
        scored = None if trainer.filler is None else trainer.filler.scored
        trainer.report.finish(trainer.state.log_history, scored)
    create_modelcard_and_push(trainer, *arguments)
    trainer.add_run_to_card()  # the host writes the card past the trainer where it does not push it


@dataclass
class Parts:
    """What a run consists of before its trainer: `datasets` by the host's names, `skipped` for what breaks later on."""

    model: Any
    collator: VistaCollator
    datasets: dict[str, PairedRows | dict[str, PairedRows]]
    frames: FrameCounts
    skipped: SkippedRows
    tokenizer_module: dict[str, Any]

    def by_name(self) -> dict[str, PairedRows]:
        """The data sets, each by a name of its own: the host keeps several to evaluate on under one."""
        return {
            (f"{name}_{key}" if key else name): rows
            for name, dataset in self.datasets.items()
            for key, rows in (dataset.items() if isinstance(dataset, dict) else [("", dataset)])
        }


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
    frames = FrameCounts(template.mm_plugin, processor, ViewKeys.of(finetuning_args))
    skipped = SkippedRows(training_args.output_dir)
    if training_args.should_save:
        skipped.start()
    skip_bad_rows = finetuning_args.vista_on_bad_row == "skip"
    check = RowCheck(
        frames=frames,
        kinds=TokenKinds(tokenizer, load_config(model_args), processor, template.mm_plugin),
        weights=finetuning_args.weights,
        cutoff_len=data_args.cutoff_len,
        seed=training_args.seed if training_args.data_seed is None else training_args.data_seed,
        skip_bad_rows=skip_bad_rows,
        skipped=skipped if training_args.should_save else None,
        tokenized_path=data_args.tokenized_path,
        mates=finetuning_args.vista_mates,
        outside_phrases=finetuning_args.vista_outside_phrases,
    )
    datasets = {name: _paired(name, dataset, check) for name, dataset in dataset_module.items()}
    model = load_model(tokenizer, model_args, finetuning_args, trainable)
    collator = collator_class(
        template=template,
        model=model,
        pad_to_multiple_of=8,
        label_pad_token_id=IGNORE_INDEX,
        views=frames.builder(training_args.seed),
        cutoff_len=data_args.cutoff_len,
        skip_bad_rows=skip_bad_rows,
        sharing=finetuning_args.vista_prefix_sharing and _share_prefixes(model),
        row_tokens=row_tokens(spreads_parameters(training_args), training_args.device.type == "cpu"),
        **tokenizer_module,
    )
    return Parts(model, collator, datasets, frames, skipped, tokenizer_module)


# --- what each part is told of the arguments --------------------------------------------------------------------------


def _objective(finetuning_args: Any) -> Objective:
    return Objective.of(
        finetuning_args,
        beta=finetuning_args.pref_beta,
        kind=pairwise_loss(finetuning_args),
        label_smoothing=finetuning_args.dpo_label_smoothing,
        ftx=finetuning_args.pref_ftx,
        ld_alpha=finetuning_args.ld_alpha,
    )


def _reference_keys(training_args: Any, finetuning_args: Any) -> ReferenceKeys:
    return ReferenceKeys(
        named=finetuning_args.ref_model is not None,
        adapter=finetuning_args.finetuning_type == "lora",
        trains=training_args.do_train,
        cache=finetuning_args.vista_reference_cache,
        spread=spreads_parameters(training_args),
    )


def _conditions(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, parts: Parts) -> Conditions:
    precision = {"bf16": training_args.bf16, "fp16": training_args.fp16, "dtype": str(model_args.compute_dtype)}
    return Conditions(
        tokenizer=parts.collator.tokenizer,
        processor=parts.collator.processor,
        template=data_args.template,
        default_system=data_args.default_system,
        precision={**precision, "quantization_bit": model_args.quantization_bit},
        # torch's own word has its build in it, as in 2.11.0+cu130.
        versions={**versions(*COMPUTING), "torch": torch.__version__},
    )


def _run_start(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, parts: Parts) -> RunStart:
    view_keys, names = parts.frames.view_keys, [*(data_args.dataset or []), *(data_args.eval_dataset or [])]
    return RunStart(
        output_dir=training_args.output_dir,
        skipped=Path(parts.skipped.path),
        recipe=resolve(finetuning_args.given_keys, finetuning_args),
        model=model_args.model_name_or_path,
        adapter=model_args.adapter_name_or_path,
        ref_model=finetuning_args.ref_model,
        resumed_from=training_args.resume_from_checkpoint,
        device=training_args.device,
        world_size=training_args.world_size,
        weights=finetuning_args.weights,
        data=hash_data(names, data_args.dataset_dir, data_args.tokenized_path),
        rows={name: term_rows(rows, view_keys) for name, rows in parts.by_name().items()},
    )


# --- the steps of a run ----------------------------------------------------------------------------------------------


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
    refuse_host_keys(model_args, data_args, training_args, finetuning_args)
    stages, epochs = ViewKeys.of(finetuning_args).stages, training_args.num_train_epochs
    if training_args.do_train and training_args.max_steps <= 0 and epochs < stages:
        logger.warning_rank0(
            f"`vista_temporal_magnitude: curriculum` takes {stages} epochs, and `num_train_epochs` is {epochs:g}: the "
            "run ends before its hardest rejected views."
        )
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


@dataclass(frozen=True)
class RowCheck:
    """What decides which rows stay, and what is said of them; `skipped` is None on ranks that save nothing."""

    frames: FrameCounts
    kinds: TokenKinds
    weights: dict[str, float]
    cutoff_len: int
    seed: int
    skip_bad_rows: bool
    skipped: SkippedRows | None
    tokenized_path: str | None
    mates: str = "random"
    outside_phrases: float = 1.0


def _paired(name: str, dataset: Any, check: RowCheck) -> PairedRows | dict[str, PairedRows]:
    """The processed rows without those that cannot be used, ready to be paired; says what they carry."""
    if isinstance(dataset, dict):
        return {key: _paired(f"{name}_{key}", part, check) for key, part in dataset.items()}
    if not set(COLUMNS) <= set(dataset.column_names):
        raise ValueError(
            f"`tokenized_path: {check.tokenized_path}` was not written by a `stage: vistadpo` run of this "
            "version. Remove the folder or name another one."
        )
    errors = row_errors(dataset, check.frames, check.kinds, check.cutoff_len)
    if errors:
        report_bad_rows(name, errors, len(dataset), check.skip_bad_rows, check.skipped)
        dataset = dataset.select([index for index in range(len(dataset)) if index not in errors])
    rows = PairedRows(dataset, check.seed)
    if check.mates == "alike" and "other" in map(check.frames.view_keys.negative, check.frames.view_keys.terms):
        rows.alike = _likeness(rows, check.frames)
    controls = control_report(check.kinds, zip(dataset["where"], dataset["added_tokens"], strict=True))
    if controls is not None:
        logger.warning_rank0(controls)
    phrases = phrase_report(sum(map(bool, dataset["phrases"])), len(dataset), check.outside_phrases)
    if phrases is not None:
        logger.info_rank0(phrases)
    described = check.frames.describe()
    alike = None if rows.alike is None else rows.alike.describe()
    named = name.replace("_", " ")
    logger.info_rank0("\n" + summarize(named, rows, check.weights, check.frames.view_keys, described, alike))
    return rows


def _likeness(rows: PairedRows, frames: FrameCounts) -> Likeness:
    """Each rank looks at a share of the videos; what came of it is the same on all."""
    state = PartialState()
    videos = videos_of(rows)
    mine = list(videos)[state.process_index :: state.num_processes]
    looks = look_at({key: videos[key] for key in mine}, frames.video_fps)
    return find_likeness(rows, dict(gather_object(list(looks.items()))))


def _share_prefixes(model: Any) -> bool:
    """Whether answers share their prefixes, as the recipe wants it; says why not where the model cannot."""
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


def _train(trainer: VistaDPOTrainer, resume_from: str | bool | None, plot: bool) -> None:
    """Train, save, and log, as the host does it for every stage."""
    train_result = trainer.train(resume_from_checkpoint=resume_from)
    trainer.save_model()
    trainer.log_metrics("train", train_result.metrics)
    trainer.save_metrics("train", train_result.metrics)
    trainer.save_state()
    if plot and trainer.is_world_process_zero():
        _plot(trainer)


def _plot(trainer: VistaDPOTrainer) -> None:
    evaluated, folder = trainer.eval_dataset, trainer.args.output_dir
    keys = ["loss", "rewards/accuracies"] if "response" in trainer.objective.terms else ["loss"]
    if isinstance(evaluated, dict):
        keys += [f"eval_{key}_loss" for key in evaluated]
    elif evaluated is not None:
        keys.append("eval_loss")
    plot_loss(folder, keys=keys)
    print("Figure saved at:", plot_margins(trainer.state.log_history, folder))


def _evaluate(trainer: VistaDPOTrainer) -> None:
    metrics = trainer.evaluate(metric_key_prefix="eval")
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
