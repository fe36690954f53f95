"""VistaDPOTrainer: the host's DPO trainer with our sampler, scorer and objective. Batch in, loss and metrics out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from llamafactory.extras import logging
from llamafactory.train.dpo.trainer import CustomDPOTrainer
from torch import Tensor
from transformers import Trainer
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalLoopOutput

from vistadpo_plugin.data.batches.pairing import PairedRows, PairedSampler
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.reference.cache import ReferenceCache
from vistadpo_plugin.reference.fill import FillReferenceCache
from vistadpo_plugin.reference.reference import Reference
from vistadpo_plugin.run_record.model_card import add_section
from vistadpo_plugin.run_record.report import RunReport
from vistadpo_plugin.scoring.fast.fused_lora import fuse_lora
from vistadpo_plugin.scoring.fast.fused_mlp import fuse_mlps
from vistadpo_plugin.scoring.fast.fused_norm import fuse_norms
from vistadpo_plugin.scoring.fast.kept_activations import GIB, KeptActivations
from vistadpo_plugin.scoring.randomness import switch_off_dropout
from vistadpo_plugin.scoring.scorer import ReferenceScores, Scorer
from vistadpo_plugin.scoring.sharded import WholeHead, keep_gathered_weights, refuse_adapted_head, spreads_parameters
from vistadpo_plugin.scoring.view_features import Encoded
from vistadpo_plugin.training.bad_rows import SkippedRows
from vistadpo_plugin.training.finite import (
    CheckWeights,
    Scored,
    check_gradients,
    check_reference,
    check_terms,
    check_weights,
)
from vistadpo_plugin.training.metrics import MetricSums
from vistadpo_plugin.training.objective import Objective, TermResult
from vistadpo_plugin.training.progress import Progress

logger = logging.get_logger("llamafactory.vistadpo")


class VistaDPOTrainer(CustomDPOTrainer):
    """Optimizers, schedulers, reference model, checkpoints and logging are the host's."""

    def __init__(
        self,
        *,
        objective: Objective,
        skipped: SkippedRows,
        activation_memory: float,
        cache: ReferenceCache | None = None,
        reference_head: torch.nn.Module | None = None,
        **kwargs: Any,
    ):
        """`activation_memory` is in GiB. `cache` is completed before the first step; `reference_head` stands for a
        reference that it knows wholly.
        """
        dropout = switch_off_dropout(kwargs["model"])
        if kwargs["ref_model"] is not None:
            dropout |= switch_off_dropout(kwargs["ref_model"])
        if dropout:
            names = ", ".join(f"{name} ({plural(count, 'layer')})" for name, count in sorted(dropout.items()))
            logger.warning_rank0(f"Dropout is off in policy and reference, as in the host's DPO: {names}.")
        super().__init__(**kwargs)
        self.args.logging_nan_inf_filter = False  # a loss that is not finite stops the run
        self.skipped = skipped
        self.progress = Progress()
        self.add_callback(self.progress)
        self.add_callback(CheckWeights())
        self.step_rows: list[str] = []  # this process's of the optimizer step
        self.eval_rows = 0
        self.unchecked: list[Scored] = []
        self.report: RunReport | None = None  # on the main process of a training run
        self.filler: FillReferenceCache | None = None
        if cache is not None:
            evaluated = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
            datasets = [rows for rows in (self.train_dataset, *evaluated.values()) if rows is not None]
            fills = FillReferenceCache(cache, self.score_reference, self.data_collator, datasets, self.accelerator)
            self.filler = fills
            self.add_callback(fills)
        self.objective = objective
        self.train_sums = MetricSums(objective.terms, objective.ftx > 0, self.args.device)
        self.eval_sums = MetricSums(objective.terms, objective.ftx > 0, self.args.device)
        self.steps_since_log = self.full_steps_since_log = 0
        unwrapped = self.accelerator.unwrap_model(self.model)
        self.kept = None
        spread = spreads_parameters(self.args)
        if not spread:
            fuse_lora(unwrapped)
            fuse_mlps(unwrapped)
            fuse_norms(unwrapped)
            self.kept = KeptActivations(unwrapped, activation_memory * GIB)
        self.scorer = Scorer(unwrapped, in_step=spread)
        ref_unwrapped = None if self.ref_model is None else self.accelerator.unwrap_model(self.ref_model)
        if spread:
            refuse_adapted_head(unwrapped.get_output_embeddings())
            if is_deepspeed_zero3_enabled():
                keep_gathered_weights(unwrapped)
            if ref_unwrapped not in (None, unwrapped):
                # It is asked within the policy's forward, when the reference's parameters are spread again.
                reference_head = WholeHead(ref_unwrapped.get_output_embeddings(), self.args.device)
        if reference_head is not None:
            reference_head.to(self.args.device)
        self.reference = Reference(unwrapped, self.scorer, self.ref_model, ref_unwrapped, reference_head)
        # Our loss divides by the rows of the whole step itself (see compute_loss), the Trainer must not divide again.
        self.model_accepts_loss_kwargs = True

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled else None
        if plugin is not None and plugin.mixed_precision_policy is not None:
            # FSDP2 would cast what the model returns, our float32 log-probabilities, to bfloat16.
            plugin.mixed_precision_policy = dataclasses.replace(plugin.mixed_precision_policy, output_dtype=None)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Whole weights also where FSDP keeps its checkpoints in shards, its default: the Trainer writes none then."""
        if self.is_fsdp_enabled and "FULL" not in str(self.accelerator.state.fsdp_plugin.state_dict_type):
            weights = self.accelerator.get_state_dict(self.model)
            if self.args.should_save:
                self._save(output_dir or self.args.output_dir, state_dict=weights)
        super().save_model(output_dir, _internal_call)

    def _run_epoch(self, **kwargs: Any) -> None:
        """As the Trainer, which looks only after a step whether it was the last, also when it resumes from that."""
        if self.state.global_step >= self.state.max_steps:
            logger.info_rank0(f"All {self.state.max_steps} steps are done already: nothing is left to train.")
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As the Trainer, but a folder is no whole checkpoint any more once something is written into it."""
        check_weights(self.model, f"Step {self.state.global_step}")
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        """As the Trainer; then ranks wait, so that what comes last says that all have written their part."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _get_train_sampler(self, train_dataset: PairedRows | None = None) -> PairedSampler:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        in_order = self.finetuning_args.disable_shuffling or self.args.train_sampling_strategy == "sequential"
        return PairedSampler(dataset, shuffle=not in_order, mates_together=not in_order)

    def _get_eval_sampler(self, eval_dataset: PairedRows) -> PairedSampler:
        return PairedSampler(eval_dataset, shuffle=False, mates_together=True)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor:
        """Rows of one optimizer step, on all ranks; the Trainer asks once a step."""
        self.step_rows = [where for batch in batch_samples for where in batch["where"]]
        rows = torch.tensor(len(self.step_rows), device=device)
        if self.args.world_size > 1:
            rows = self.accelerator.gather(rows).sum()
        self.progress.count(self.state.global_step + 1, int(rows))
        self.steps_since_log += 1
        self.full_steps_since_log += bool(rows)
        return rows

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        self._check_terms(f"Step {self.state.global_step + 1}")
        if self.accelerator.mixed_precision != "fp16":  # there a scaler skips such steps, and tries a smaller scale
            check_gradients(norm, self.step_rows, f"Step {self.state.global_step + 1}")
        return norm

    def score_reference(self, batch: dict[str, Any]) -> ReferenceScores:
        """What the reference says of a batch, scored as in a step."""
        batch = self._prepare_inputs(batch)
        with self.compute_loss_context_manager():
            scores = self.reference(self.model_wrapped, batch, Encoded())
        check_reference(scores, batch)
        return scores

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """As the Trainer, which under DeepSpeed also casts every float; what the loss is made of stays float32."""
        ours = {name: inputs[name] for name in ("terms", "reference") if name in inputs}
        of_model = {name: value for name, value in inputs.items() if name not in ours}
        return super()._prepare_inputs(of_model) | send_to_device(ours, self.args.device)

    def term_results(self, model: Any, batch: dict[str, Any]) -> dict[str, TermResult]:
        """Score a batch with reference and policy and form every term of every row."""
        for where, reason in self.skipped.add("train_dataset" if model.training else "eval_dataset", batch["skipped"]):
            logger.warning(f"{where} is skipped: {reason}")
        encoded = Encoded()
        reference = self.reference(model, batch, encoded)
        policy = self.scorer(model, batch, encoded, reference)
        results = self.objective(policy, reference, batch)
        self.unchecked.append(Scored.of(results, batch["where"], policy, reference))
        return results

    def _check_terms(self, step: str) -> None:
        """Where the processor may wait for the device: once an optimizer step, before the optimizer's."""
        check_terms(self.unchecked, step)
        self.unchecked.clear()

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Sum of the rows' losses over the rows of the whole step: the mean over rows, however they are spread.

        Data-parallel wrappers average gradients over ranks, hence the factor.
        """
        if self.kept is not None:
            self.kept.start()
        results = self.term_results(model, inputs)
        self.train_sums.add(results)
        rows = len(inputs["rows"])
        total_rows = torch.as_tensor(rows if num_items_in_batch is None else num_items_in_batch)
        share = self.accelerator.num_processes / total_rows.clamp(min=1)  # 0 when every row of the step was skipped
        loss = self.objective.total(results, rows).sum() * share
        return (loss, {}) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            results = self.term_results(model, inputs)
        self._check_terms(f"Evaluation at step {self.state.global_step}")
        self.eval_sums.add(results)
        rows = len(inputs["rows"])
        self.eval_rows += rows
        return self.objective.total(results, rows).sum() / max(rows, 1), None, None

    def evaluation_loop(
        self, dataloader: Any, *args: Any, metric_key_prefix: str = "eval", **kw: Any
    ) -> EvalLoopOutput:
        self.eval_sums.reset()
        self.eval_rows = 0
        output = super().evaluation_loop(dataloader, *args, metric_key_prefix=metric_key_prefix, **kw)
        if not self._sum_over_ranks(torch.tensor(self.eval_rows, device=self.args.device)):
            raise RuntimeError(
                f"No row of {metric_key_prefix} could be used: all were skipped (skipped_rows.jsonl in the output "
                "folder says why)."
            )
        means = self.eval_sums.means(self._sum_over_ranks, steps=len(dataloader))
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in means.items()})
        return output

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the means since the last training log.

        The Trainer's own means count steps without a row, whose loss is 0, and `train_loss` those of earlier runs.
        """
        if "loss" in logs:
            if self.full_steps_since_log < self.steps_since_log:
                logs["loss"] = _mean(logs["loss"] * self.steps_since_log, self.full_steps_since_log)
            logs.update(self.train_sums.means(self._sum_over_ranks, self.steps_since_log))
            self.steps_since_log = self.full_steps_since_log = 0
        if "train_loss" in logs:
            logs["train_loss"] = _mean(self._total_loss_scalar, self.progress.full_steps)
        Trainer.log(self, logs, *args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The card that transformers writes, as in every stage of the host, and what is known of the run."""
        Trainer.create_model_card(self, *args, **kwargs)
        self.add_run_to_card()

    def add_run_to_card(self) -> None:
        """Put what is known of the run into the model card; only the main process of a training run does."""
        if self.report is not None:
            add_section(self.report)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, "sum")


def _mean(total: float, steps: int) -> float:
    return total / steps if steps else float("nan")
