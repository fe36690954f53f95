"""Numbers that are not finite stop a run, by name, before anything broken is saved.

The host leaves losses that are NaN or infinite out of its log (`logging_nan_inf_filter`) and goes on. Here every row's
terms are looked at before the backward pass, the gradients before the optimizer's step, and the trained weights before
they are written. What a rank finds ends the job: the launcher stops the others, which wait for it in the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from vistadpo_plugin.scoring.scorer import ReferenceScores, Scores
from vistadpo_plugin.training.objective import TermResult

_ROWS_SHOWN = 5
_OF_TRAINING = "Lower `learning_rate`, or train in `bf16` instead of `fp16`; checkpoints of earlier steps are whole."
_OF_THE_REFERENCE = (
    "The reference is never trained: its weights, or what `fp16` cannot hold, are at fault. Look at the checkpoint."
)


def check_terms(
    results: dict[str, TermResult],
    where: Sequence[str],
    policy: Scores,
    reference: ReferenceScores,
    step: str,
) -> None:
    """Raise FloatingPointError where a loss or margin is not finite.

    `where` names the rows of the batch; `step` begins the message, as in `Step 3`. An infinite margin alone counts as
    well: its loss may be 0.
    """
    broken = {term: ~(result.loss.isfinite() & result.margin.isfinite()) for term, result in results.items()}
    if not torch.cat(list(broken.values())).any():  # the one wait for the device
        return
    lines = [f"{step}: the loss is not finite; the run stops, and nothing of this step is saved."]
    for term, places in broken.items():
        result = results[term]
        found = [
            f"{where[row]} (loss {loss:g}, margin {margin:g})"
            for row, loss, margin in zip(
                result.row[places].tolist(), result.loss[places].tolist(), result.margin[places].tolist(), strict=True
            )
        ]
        if found:
            lines.append(f"  {term}: {_some(found)}")
    wrong = [int((~scores.log_probs.isfinite()).sum()) for scores in (policy, reference)]
    lines.append(
        f"  log-probabilities that are not finite: {wrong[0]} of {len(policy.log_probs)} of the policy, {wrong[1]} of "
        f"{len(reference.log_probs)} of the reference"
    )
    lines.append(_OF_THE_REFERENCE if wrong[1] else _OF_TRAINING)
    raise FloatingPointError("\n".join(lines))


def check_reference(scores: ReferenceScores, batch: dict[str, Any]) -> None:
    """Raise FloatingPointError when what the reference says of a batch is not finite: a cache would keep that."""
    broken = {number for number, value in enumerate(scores.log_probs.tolist()) if not math.isfinite(value)}
    for group, hidden in zip(batch["groups"], scores.hidden, strict=True):
        owners = group["answers"]["sequence"][group["answers"]["token_term"]]
        broken |= set(owners[~hidden.isfinite().all(dim=-1)].tolist())
    named = (batch["names"][number] for number in sorted(broken) if number < len(batch["names"]))  # not the decoy
    found = [f"{batch['where'][place]}, {name}" for place, name in named]
    if found:
        raise FloatingPointError(
            f"The reference's scores are not finite, and the reference cache does not take them: {_some(found)}.\n"
            + _OF_THE_REFERENCE
        )


def check_gradients(norm: float | Tensor | None, where: Sequence[str], step: str) -> None:
    """Raise FloatingPointError when the norm of a step's gradients is not finite: every weight would become NaN.

    Of spread gradients all ranks call it. DeepSpeed has no norm (None) before its first step.
    """
    if hasattr(norm, "full_tensor"):
        norm = norm.full_tensor()
    if norm is not None and not math.isfinite(norm):
        raise FloatingPointError(
            f"{step}: the loss is finite, its gradients are not (norm {float(norm):g}); the run stops before they "
            f"reach the weights.\n  rows of this process: {_some(where)}\n{_OF_TRAINING}"
        )


def check_weights(model: torch.nn.Module, step: str) -> None:
    """Raise FloatingPointError when a trained weight is not finite, as far as this process holds it."""
    broken = broken_weights(model)
    if broken:
        raise FloatingPointError(
            f"{step}: {len(broken)} trained tensors are not finite ({_some(broken)}); they are not saved.\n"
            "The optimizer's step made them so: lower `learning_rate`, and look at `adam_epsilon` (0 divides by 0)."
        )


class CheckWeights(TrainerCallback):
    """`check_weights` behind the last step of an epoch, and so of a run; checkpoints before that are checked alone."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        check_weights(model, f"Step {state.global_step}")


def broken_weights(model: torch.nn.Module) -> list[str]:
    """Names of the trained parameters of which a value is NaN or infinite; of spread ones this process's share."""
    trained = {name: _held(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
    device = next((value.device for value in trained.values()), None)
    finite = [value.isfinite().all().to(device) for value in trained.values()]
    return [name for name, one in zip(trained, torch.stack(finite).tolist(), strict=True) if not one] if finite else []


def _held(parameter: Tensor) -> Tensor:
    """A parameter's values on this process: its shard under ZeRO-3 and FSDP2."""
    if hasattr(parameter, "ds_tensor"):
        return parameter.ds_tensor.detach()
    return parameter.to_local().detach() if hasattr(parameter, "to_local") else parameter.detach()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _ROWS_SHOWN} more" if len(names) > _ROWS_SHOWN else ""
    return ", ".join(names[:_ROWS_SHOWN]) + more
