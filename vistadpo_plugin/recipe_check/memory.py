"""GPU memory by part, from the model's shape and the recipe's keys. Every figure is an estimate, in bytes a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vistadpo_plugin.recipe_check.cost import Work
from vistadpo_plugin.recipe_check.model import ModelShape
from vistadpo_plugin.recipe_check.recipe import Recipe
from vistadpo_plugin.scoring.answer_head import CHUNK
from vistadpo_plugin.scoring.fast.kept_activations import GIB

# Bytes that a decoder layer keeps a position for its backward pass, as multiples of (hidden, intermediate, keys):
# measured on Llama layers as training runs them (bytes of an activation, whether the MLP is ours).
KEPT = {(2, True): (16, 4, 4), (4, True): (24, 8, 8), (2, False): (16, 8, 4), (4, False): (32, 16, 8)}
# A chunk of float32 logits, its log-softmax, the reference's, and their gradients.
_LOGIT_COPIES = 5
_CONTEXT = 1.0 * GIB
# Bytes of Adam's two moments for a parameter, by what the name of another optimizer says.
_OPTIMIZERS = (("8bit", 2), ("4bit", 1), ("adafactor", 0.1), ("sgd", 0), ("lion", 4), ("adagrad", 4))
# DeepSpeed's default for what ZeRO-3 keeps gathered.
_LIVE_PARAMETERS = 1e9


@dataclass(frozen=True)
class Part:
    """One line of the table: bytes on each GPU, and what they are."""

    name: str
    size: float
    what: str


def trained_parameters(recipe: Recipe, shape: ModelShape) -> int:
    """Parameters that get a gradient."""
    keys = recipe.finetuning
    if keys.finetuning_type in ("lora", "oft"):
        return lora_parameters(shape, keys.lora_rank, keys.lora_target)
    if keys.finetuning_type == "freeze":
        return min(abs(keys.freeze_trainable_layers), shape.layers) * shape.layer
    return shape.language + (0 if keys.freeze_vision_tower else shape.tower)


def lora_parameters(shape: ModelShape, rank: int, targets: Iterable[str]) -> int:
    """Of adapters on the decoder's matrices; towers and projector have none."""
    named = set(targets)
    chosen = [sizes for name, sizes in shape.linears.items() if "all" in named or name in named]
    return shape.layers * rank * sum(inputs + outputs for inputs, outputs in chosen)


def parts_of(recipe: Recipe, shape: ModelShape, work: Work, gpus: int) -> list[Part]:
    """The table without its total."""
    trained = trained_parameters(recipe, shape)
    return [
        *_states(recipe, shape, trained, gpus),
        *_activations(recipe, shape, work),
        Part("context", _CONTEXT, "CUDA and libraries"),
    ]


def _states(recipe: Recipe, shape: ModelShape, trained: int, gpus: int) -> list[Part]:
    keys = recipe.finetuning
    adapter = keys.finetuning_type in ("lora", "oft")
    base = _weights(recipe, shape)
    frozen = base if adapter else base * (1 - trained / shape.total)
    stage, pure = recipe.zero_stage, keys.pure_bf16
    half = recipe.half and bool(recipe.zero)
    spread = recipe.spreads_parameters
    # DeepSpeed keeps 16-bit weights and gradients beside float32 ones in its optimizer; elsewhere trained weights are
    # float32 themselves, but with pure_bf16.
    width = 2 if pure or half else 4
    moments = _moments(recipe) * (0.5 if pure else 1)
    master = 4 if half and not pure else 0
    share_w = gpus if spread else 1
    share_g = gpus if spread or stage >= 2 else 1
    share_o = gpus if spread or stage >= 1 else 1
    weights = (frozen + trained * width) / share_w
    offload_w, offload_o = _offloaded(recipe)
    name = getattr(recipe.training.optim, "value", recipe.training.optim)
    kind = f"adapter, {trained / 1e6:.0f}M trained" if adapter else f"{trained / 1e9:.2f}B trained, {width} bytes each"
    parts = [
        Part("weights", 0 if offload_w else weights, f"{_dtype(recipe)}; {kind}{_over(share_w)}"),
        Part("gradients", trained * width / share_g, f"{width} bytes each{_over(share_g)}"),
        Part(
            "optimizer",
            0 if offload_o else trained * (moments + master) / share_o,
            f"{name}, {moments + master:g} bytes each{_over(share_o)}",
        ),
    ]
    if spread:
        gathered = min(_LIVE_PARAMETERS, shape.total) if stage == 3 else 2 * shape.layer + shape.tables
        parts.append(Part("gathered", gathered * (2 if recipe.half else 4), "parameters brought together for a layer"))
    elif stage:
        bucket = recipe.zero.get("zero_optimization", {}).get("reduce_bucket_size", 5e8)
        bucket = 5e8 if not isinstance(bucket, int | float) else bucket
        parts.append(Part("buckets", 2 * min(bucket, trained) * width, "DeepSpeed's reduce and all-gather buckets"))
    elif gpus > 1:
        parts.append(Part("buckets", trained * width, "DDP's copies of the gradients"))
    parts.append(_reference(recipe, shape, adapter, share_w))
    return parts


def _reference(recipe: Recipe, shape: ModelShape, adapter: bool, share: int) -> Part:
    keys = recipe.finetuning
    if keys.ref_model is None and adapter:
        return Part("reference", 0, "the policy with its adapter off")
    if keys.ref_model is None and keys.vista_reference_cache and not recipe.spreads_parameters:
        return Part(
            "reference", 0, f"cached; {shape.total * _compute(recipe) / GIB:.1f} GiB in the run that fills the cache"
        )
    of = "a second copy" if keys.ref_model is None else "ref_model, taken to be of the same shape"
    return Part(
        "reference", shape.total * _compute(recipe) / share, f"{of}, {_compute(recipe)} bytes each{_over(share)}"
    )


def _activations(recipe: Recipe, shape: ModelShape, work: Work) -> list[Part]:
    width = _compute(recipe)
    layer = kept_bytes(recipe, shape)
    positions = work.positions * work.rows
    answers = min(work.tokens * work.rows, max(1, CHUNK // shape.vocabulary))
    logits = Part("logits", answers * shape.vocabulary * 4 * _LOGIT_COPIES, f"{answers:.0f} answer positions at a time")
    if recipe.model.disable_gradient_checkpointing:
        return [Part("activations", positions * shape.layers * layer, "of all layers, without checkpointing"), logits]
    spread = recipe.spreads_parameters
    inputs = positions * shape.layers * shape.hidden * width
    kept = _kept_activations(recipe, shape, work)
    return [
        Part("checkpoints", inputs, f"each layer's input at {positions:.0f} positions"),
        Part("one layer", work.longest * layer, f"computed again for {work.longest} positions"),
        Part("kept", kept, "not used where parameters are spread" if spread else "vista_activation_memory"),
        logits,
    ]  # fmt: skip


def _kept_activations(recipe: Recipe, shape: ModelShape, work: Work) -> float:
    """What `vista_activation_memory` keeps: a layer of the longest packed row is kept whole or not at all."""
    if recipe.spreads_parameters:
        return 0.0
    bytes_a_position, budget = kept_bytes(recipe, shape), recipe.finetuning.vista_activation_memory * GIB
    layer = work.longest * bytes_a_position
    return min(budget // layer * layer, work.positions * work.rows * shape.layers * bytes_a_position)


def kept_bytes(recipe: Recipe, shape: ModelShape) -> float:
    """Bytes that one layer keeps for one position."""
    ours = recipe.finetuning.finetuning_type == "lora" and not recipe.spreads_parameters
    of_hidden, of_mlp, of_keys = KEPT[_compute(recipe), ours]
    return of_hidden * shape.hidden + of_mlp * shape.intermediate + of_keys * shape.key_value


def again_share(recipe: Recipe, shape: ModelShape | None, work: Work) -> float:
    """Share of the layers that gradient checkpointing computes twice: without those `vista_activation_memory` keeps."""
    if recipe.model.disable_gradient_checkpointing:
        return 0.0
    if shape is None or recipe.spreads_parameters:
        return 1.0
    all_of_them = work.positions * work.rows * shape.layers * kept_bytes(recipe, shape)
    return 1 - _kept_activations(recipe, shape, work) / all_of_them


def _compute(recipe: Recipe) -> int:
    """Bytes of a number the model computes with."""
    return 2 if recipe.half else 4


def _weights(recipe: Recipe, shape: ModelShape) -> float:
    """Bytes of all weights as loaded; a quantizer leaves embeddings and head, and adds a scale for 64 weights."""
    bits = recipe.model.quantization_bit
    if bits is None:
        return shape.total * _compute(recipe)
    scales = 0.0 if bits == 8 else 0.016 if recipe.model.double_quantization else 0.0625
    return (shape.total - shape.tables) * (bits / 8 + scales) + shape.tables * _compute(recipe)


def _dtype(recipe: Recipe) -> str:
    bits = recipe.model.quantization_bit
    return f"{bits} bits" if bits else "16 bits" if recipe.half else "32 bits"


def _moments(recipe: Recipe) -> float:
    return next((size for name, size in _OPTIMIZERS if name in str(recipe.training.optim)), 8)


def _offloaded(recipe: Recipe) -> tuple[bool, bool]:
    """Whether DeepSpeed keeps (weights, optimizer) in the machine's memory."""
    zero: dict[str, Any] = recipe.zero.get("zero_optimization", {})

    def away(name: str) -> bool:
        return (zero.get(name) or {}).get("device", "none") in ("cpu", "nvme")

    return away("offload_param"), away("offload_optimizer")


def _over(share: int) -> str:
    return f", over {share} GPUs" if share > 1 else ""
