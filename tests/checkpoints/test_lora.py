"""LoRA pairs merged into their base weights, without a model."""

from __future__ import annotations

import pytest
import torch

from vistadpo_plugin.checkpoints.lora import merge_lora
from vistadpo_plugin.checkpoints.weights import Weight


def weight(tensor: torch.Tensor) -> Weight:
    return Weight(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def pair(base: str = "m.q.base_layer.weight") -> dict[str, Weight]:
    """W = [[1, 2], [3, 4], [5, 6]], A = [[1, 0], [0, 2]], B = [[1, 1], [0, 1], [2, 0]]."""
    return {
        base: weight(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])),
        "m.q.lora_A.default.weight": weight(torch.tensor([[1.0, 0.0], [0.0, 2.0]])),
        "m.q.lora_B.default.weight": weight(torch.tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])),
    }


@pytest.mark.parametrize("base", ["m.q.base_layer.weight", "m.q.weight"])
def test_both_spellings_by_hand(base: str) -> None:
    """B A = [[1, 2], [0, 2], [2, 0]], and alpha 6 over rank 2 is 3."""
    weights, pairs = merge_lora({**pair(base), "m.norm.weight": weight(torch.ones(2))}, 6.0)
    assert pairs == 1
    assert weights.keys() == {"m.q.weight", "m.norm.weight"}
    assert weights["m.q.weight"].shape == (3, 2)
    assert weights["m.q.weight"].make().tolist() == [[4.0, 8.0], [3.0, 10.0], [11.0, 6.0]]


def test_names_without_an_adapter() -> None:
    """PEFT's own files leave `default` out."""
    source = {name.replace(".default", ""): one for name, one in pair().items()}
    weights, _ = merge_lora(source, 2.0)
    assert weights["m.q.weight"].make().tolist() == [[2.0, 4.0], [3.0, 6.0], [7.0, 6.0]]


def test_bfloat16_is_rounded_once() -> None:
    """1 + 255 * 1.0078125 = 257.9921875, where bfloat16 has steps of 2: 258.

    Rounded at each step, the product is 256.9921875 -> 256 and the sum 257 -> 256.
    """
    down, up, base = (torch.tensor([[value]], dtype=torch.bfloat16) for value in (1.0078125, 255.0, 1.0))
    assert (base + up @ down).item() == 256.0
    parts = {"m.q.weight": weight(base), "m.q.lora_A.x.weight": weight(down), "m.q.lora_B.x.weight": weight(up)}
    merged = merge_lora(parts, 1.0)[0]["m.q.weight"]
    assert merged.dtype == torch.bfloat16
    assert merged.make().item() == 258.0


@pytest.mark.parametrize("alpha", [0.0, -4.0, float("inf"), float("nan")])
def test_alpha_has_to_be_above_zero(alpha: float) -> None:
    with pytest.raises(ValueError, match="it has to be above 0"):
        merge_lora(pair(), alpha)


def test_pairs_that_are_not_whole() -> None:
    for gone, said in (
        ("m.q.lora_B.default.weight", "no lora_B"),
        ("m.q.lora_A.default.weight", "no lora_A"),
        ("m.q.base_layer.weight", "no base weight"),
    ):
        source = pair()
        del source[gone]
        with pytest.raises(ValueError, match=f"m.q has LoRA weights but {said}"):
            merge_lora(source, 4.0)


def test_pairs_that_do_not_fit() -> None:
    source = {**pair(), "m.q.lora_B.default.weight": weight(torch.ones(3, 1))}
    with pytest.raises(ValueError, match=r"m\.q: lora_A \[2, 2\] and lora_B \[3, 1\] do not fit its weight \[3, 2\]"):
        merge_lora(source, 4.0)


def test_two_adapters_and_two_bases() -> None:
    other = {"m.v.weight": weight(torch.ones(2, 2)), "m.v.lora_A.other.weight": weight(torch.ones(1, 2))}
    with pytest.raises(ValueError, match=r"several adapters \(default, other\)"):
        merge_lora({**pair(), **other, "m.v.lora_B.other.weight": weight(torch.ones(2, 1))}, 4.0)
    with pytest.raises(ValueError, match="m.q.weight is there with and without `base_layer`"):
        merge_lora({**pair(), "m.q.weight": weight(torch.ones(3, 2))}, 4.0)
