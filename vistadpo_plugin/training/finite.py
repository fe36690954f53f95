"""Numbers that are not finite stop a run, by name, before anything broken is saved.

The host leaves losses that are NaN or infinite out of its log (`logging_nan_inf_filter`) and goes on. Here every row's
terms and the gradients are looked at before the optimizer's step, and the trained weights before they are written. What
a rank finds ends the job: the others find it in their gradients, or are stopped by the launcher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Scored:
    """What is looked at of a batch: for each term (row, loss, margin) (R,), `where` its rows are, and the
    log-probabilities (S,) of policy and reference."""

    terms: dict[str, tuple[Tensor, Tensor, Tensor]]
    where: Sequence[str]
    policy: Tensor
    reference: Tensor

    @classmethod
    def of(
        cls, results: dict[str, TermResult], where: Sequence[str], policy: Scores, reference: ReferenceScores
    ) -> Scored:
        terms = {term: (one.row, one.loss.detach(), one.margin.detach()) for term, one in results.items()}
        return cls(terms, where, policy.log_probs.detach(), reference.log_probs)


def check_terms(batches: Sequence[Scored], step: str) -> None:
    """Raise FloatingPointError where a loss or margin of these batches is not finite.

    `step` begins the message, as in `Step 3`. An infinite margin alone counts as well: its loss may be 0.
    """
    broken = [~(loss.isfinite() & margin.isfinite()) for one in batches for _, loss, margin in one.terms.values()]
    if not broken or not torch.cat(broken).any():
        return
    lines = [f"{step}: the loss is not finite; the run stops, and nothing of this step is saved."]
    for term in batches[0].terms:
        found = []
        for one in batches:
            for row, loss, margin in zip(*(values.tolist() for values in one.terms[term]), strict=True):
                if not (math.isfinite(loss) and math.isfinite(margin)):
                    found.append(f"{one.where[row]} (loss {loss:g}, margin {margin:g})")
        if found:
            lines.append(f"  {term}: {_some(found)}")
    wrong = [sum(int((~getattr(one, side).isfinite()).sum()) for one in batches) for side in ("policy", "reference")]
    total = sum(len(one.policy) for one in batches)
    lines.append(
        f"  log-probabilities that are not finite: {wrong[0]} of {total} of the policy, {wrong[1]} of {total} of the "
        "reference"
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
            f"{step}: the loss of this process's rows is finite, the gradients of all are not (norm {float(norm):g}); "
            f"the run stops before they reach the weights.\n  rows of this process: {_some(where)}\n{_OF_TRAINING}"
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
