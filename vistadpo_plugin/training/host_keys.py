"""Keys of the host that change a forward, or an objective, in a way that `stage: vistadpo` does not have.

A key that is neither here nor in `arguments` is either shown right by a test (tests/training/test_host_keys.py) or
changes neither. Nothing that a recipe sets is without effect in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_OTHER_LOSS = "is another stage's loss and has no effect here"
_OTHER_FORWARD = "puts another forward in the place of the one whose answers are scored here"
_TWO_REFERENCES = "would be drawn for policy and reference apart"


@dataclass(frozen=True)
class _Refused:
    """Why a key may only have the value `off` (or none)."""

    off: Any
    reason: str


_MODEL = {
    "shift_attn": _Refused(False, "shifts attention while training only, so packed and separate rows would differ"),
    "mixture_of_depths": _Refused(None, _OTHER_FORWARD),
    "use_unsloth": _Refused(False, _OTHER_FORWARD),
    "use_unsloth_gc": _Refused(False, "is reentrant checkpointing, and one step runs the model several times"),
    "use_v1_kernels": _Refused(False, _OTHER_FORWARD),
    "use_kt": _Refused(False, _OTHER_FORWARD),
    "enable_liger_kernel": _Refused(False, f"{_OTHER_FORWARD}; `vista_prefix_sharing` is what makes it fast"),
    "rope_scaling": _Refused(
        None,
        "reaches no video model (the host looks outside of the language model's configuration); set `rope_parameters` "
        "in the checkpoint's config.json",
    ),
    "moe_aux_loss_coef": _Refused(None, "belongs to a loss inside the model, which is not computed here"),
    "train_from_scratch": _Refused(False, f"leaves nothing to prefer; random weights {_TWO_REFERENCES}"),
    "split_special_tokens": _Refused(False, "splits the tokens that stand for a video as well"),
}
_DATA = {"packing": _Refused(False, "has no effect here; `vista_prefix_sharing` packs the answers of a video")}
_TRAINING = {
    "use_liger_kernel": _MODEL["enable_liger_kernel"],
    "gradient_checkpointing": _Refused(False, "is on anyway; `disable_gradient_checkpointing: true` switches it off"),
    "torch_compile": _Refused(False, _OTHER_FORWARD),
    "fp8": _Refused(False, "rounds the policy's layers and not a second model's; use `bf16`"),
    "fp16_full_eval": _Refused(False, "rounds the policy for evaluation and leaves the reference; use `fp16`"),
    "bf16_full_eval": _Refused(False, "rounds the policy for evaluation and leaves the reference; use `bf16`"),
    "parallelism_config": _Refused(None, "splits sequences over devices, and packed rows cannot be split"),
    "label_smoothing_factor": _Refused(0.0, f"{_OTHER_LOSS}; `dpo_label_smoothing` is meant for preferences"),
}
_TUNING = {
    "use_hyper_parallel": _Refused(False, "is for other stages and has no effect here"),
    "use_dft_loss": _Refused(False, _OTHER_LOSS),
    "use_asft_loss": _Refused(False, _OTHER_LOSS),
    "use_eaft_loss": _Refused(False, _OTHER_LOSS),
}


def refuse_host_keys(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """Raise ValueError with a sentence for every key that cannot be, or would do nothing."""
    for args, refused in (
        (model_args, _MODEL),
        (data_args, _DATA),
        (training_args, _TRAINING),
        (finetuning_args, _TUNING),
    ):
        for key, one in refused.items():
            value = getattr(args, key, one.off)
            if value not in (one.off, None):
                raise ValueError(f"`{key}: {value}` does not go with `stage: vistadpo`: it {one.reason}. Remove it.")
    _refuse_noise_in_packed_rows(training_args, finetuning_args)
    _refuse_second_embeddings(model_args, finetuning_args)
    _refuse_keys_of_no_reference(finetuning_args)


def _refuse_noise_in_packed_rows(training_args: Any, vista: Any) -> None:
    if training_args.neftune_noise_alpha is not None and vista.vista_prefix_sharing:
        raise ValueError(
            f"`neftune_noise_alpha: {training_args.neftune_noise_alpha:g}` does not go with packed rows: its noise is "
            "as strong as a row is short, and answers that share tokens would share it. Set `vista_prefix_sharing: "
            "false`, which is slower, or remove it."
        )


def _refuse_second_embeddings(model_args: Any, finetuning_args: Any) -> None:
    """A second model is the reference of all but LoRA without `ref_model`."""
    added = [key for key in ("resize_vocab", "add_tokens", "add_special_tokens") if getattr(model_args, key)]
    if added and (finetuning_args.finetuning_type != "lora" or finetuning_args.ref_model is not None):
        raise ValueError(
            f"`{added[0]}` does not go with a reference that is a second model: embeddings of new tokens "
            f"{_TWO_REFERENCES}. Add the tokens to the checkpoint first, or tune with LoRA."
        )


def _refuse_keys_of_no_reference(finetuning_args: Any) -> None:
    for key in ("ref_model_adapters", "ref_model_quantization_bit"):
        if getattr(finetuning_args, key) is not None and finetuning_args.ref_model is None:
            raise ValueError(f"`{key}` has no effect without `ref_model`: add that, or remove `{key}`.")
