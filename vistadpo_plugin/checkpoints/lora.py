"""LoRA pairs that were saved beside their base weights, merged into them."""

from __future__ import annotations

import math
import re

from torch import Tensor

from vistadpo_plugin.checkpoints.weights import Weight

# `q_proj.lora_A.default.weight`; `default` is the adapter's name, which PEFT's own files leave out.
_PAIR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.(?P<adapter>\w+))?\.weight")


def merge_lora(source: dict[str, Weight], alpha: float) -> tuple[dict[str, Weight], int]:
    """The weights with each pair merged, W + (alpha / rank) B A, in float32 and cast back, and the number of pairs.

    The base of `M.lora_A...` is `M.base_layer.weight`, or `M.weight` as PEFT once named it. Both become `M.weight`.

    Raises:
        ValueError: `alpha` is not a finite number above 0, or the pairs are not whole, not one a module, or misshapen.
    """
    if not math.isfinite(alpha) or alpha <= 0:
        raise ValueError(
            f"alpha is {alpha:g}; it has to be above 0. It scales what training added to the base model: with 0 the "
            "result would be the base model."
        )
    pairs: dict[str, dict[str, Weight]] = {}
    adapters = set()
    weights: dict[str, Weight] = {}
    for name, weight in source.items():
        found = _PAIR.fullmatch(name)
        if found:
            pairs.setdefault(found["module"], {})[found["side"]] = weight
            adapters.add(found["adapter"])
        else:
            plain = name.replace(".base_layer.", ".")
            if plain in weights:
                raise ValueError(f"{plain} is there with and without `base_layer`; one of them does not belong.")
            weights[plain] = weight
    if len(adapters) > 1:
        raise ValueError(f"there are several adapters ({', '.join(sorted(map(str, adapters)))}); one is expected.")
    for module, pair in pairs.items():
        weights[f"{module}.weight"] = _merged(module, weights.get(f"{module}.weight"), pair, alpha)
    return weights, len(pairs)


def _merged(module: str, base: Weight | None, pair: dict[str, Weight], alpha: float) -> Weight:
    absent = [f"lora_{side}" for side in "AB" if side not in pair]
    if base is None or absent:
        raise ValueError(
            f"{module} has LoRA weights but no {', '.join(absent) if absent else 'base weight'}. A checkpoint of "
            "adapters alone does not do; its base weights have to be in it."
        )
    down, up = pair["A"], pair["B"]
    rank = down.shape[0] if down.shape else 0
    if rank == 0 or len(base.shape) != 2 or up.shape != (base.shape[0], rank) or down.shape != (rank, base.shape[1]):
        raise ValueError(
            f"{module}: lora_A {list(down.shape)} and lora_B {list(up.shape)} do not fit its weight {list(base.shape)}."
        )

    def make() -> Tensor:
        change = up.make().float() @ down.make().float()
        return base.make().float().add_(change, alpha=alpha / rank).to(base.dtype)

    return Weight(base.shape, base.dtype, make)
