"""QLoRA: a base in 4 bits (bitsandbytes, on the CPU here) below LoRA, with all that makes a step fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from capture import Gradients
from conftest import Demo, Run, run_recipe, tiny_recipe
from rounding import WHOLE_LOSS, assert_gradients_alike
from transformers import TrainerCallback

pytest.importorskip("bitsandbytes")

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "vistadpo_videollava_qlora.yaml"


class Layers(TrainerCallback):
    """Classes of the policy's layers, and its frozen values before and after the run."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}
        self.frozen: list[dict[str, torch.Tensor]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.classes = {name: f"{type(m).__module__}.{type(m).__name__}" for name, m in model.named_modules()}
        self._keep(model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._keep(model)

    def _keep(self, model: Any) -> None:
        self.frozen.append({n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad})


@pytest.fixture(scope="module")
def runs(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Run, Layers, Gradients]]:
    """The recipe's quantization on the tiny model, 3 steps of 4 complete rows: shared prefixes with kept activations,
    and separate rows with none kept."""
    folder = tmp_path_factory.mktemp("qlora")
    recipe = yaml.safe_load(RECIPE.read_text())
    keys = ("quantization_method", "quantization_bit", "quantization_type", "double_quantization")
    base = {**tiny_recipe(demo, folder), **{key: recipe[key] for key in keys}}
    base |= {"max_samples": 8, "max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "seed": 3}
    changes = {
        "packed": {"vista_activation_memory": 8.0},
        "separate": {"vista_prefix_sharing": False, "vista_activation_memory": 0.0},
    }
    found = {}
    for name, change in changes.items():
        layers, gradients = Layers(), Gradients()
        found[name] = (
            run_recipe({**base, **change, "output_dir": str(folder / name)}, layers, gradients),
            layers,
            gradients,
        )
    return found


def test_the_base_is_in_4_bits_and_stays_and_the_adapter_moves(runs: dict[str, Any]) -> None:
    run, layers, _ = runs["packed"]
    attention = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    assert layers.classes[f"{attention}.base_layer"] == "bitsandbytes.nn.modules.Linear4bit"
    assert layers.classes[attention] == "peft.tuners.lora.bnb.Linear4bit"
    assert layers.classes["base_model.model.lm_head"].endswith(".Linear")  # transformers keeps the head as it is
    before, after = layers.frozen
    bits = [{name: value.flatten().view(torch.uint8) for name, value in kept.items()} for kept in (before, after)]
    assert all(bits[0][name].equal(bits[1][name]) for name in before)  # as bits: packed weights read as floats hold NaN
    # 0.5 bytes a weight: 96 x 96 are 4,608 bytes, whatever type they are stored as.
    packed = before[f"{attention}.base_layer.weight"]
    assert packed.numel() * packed.element_size() == 96 * 96 // 2
    losses = run.series("loss")
    # The weights sum to 2.7, and policy and reference are alike.
    assert losses[0] == pytest.approx(2.7 * math.log(2), abs=WHOLE_LOSS)
    assert max(abs(margin) for margin in run.series("vista/response_margin")[1:]) > 0.05


def test_packed_rows_equal_separate_rows(runs: dict[str, Any]) -> None:
    (packed, _, of_packed), (separate, _, of_separate) = runs["packed"], runs["separate"]
    assert packed.series("loss") == pytest.approx(separate.series("loss"), abs=WHOLE_LOSS)
    for one, other in zip(of_packed.steps[:2], of_separate.steps[:2], strict=True):
        assert all("lora_" in name for name in one)
        assert max(gradient.abs().max() for gradient in one.values()) > 1e-2
        assert_gradients_alike(one, other)


def test_the_fused_operations_leave_quantized_layers_alone(runs: dict[str, Any], demo: Demo) -> None:
    """They compute with weights as they stand, which is nonsense for packed ones."""
    import bitsandbytes
    from peft import LoraConfig, get_peft_model

    from vistadpo_plugin.scoring.fast.fused_lora import fuse_lora
    from vistadpo_plugin.scoring.fast.fused_mlp import fuse_mlps

    class Mlp(torch.nn.Module):
        def __init__(self, linear: Callable[..., torch.nn.Module]):
            super().__init__()
            self.gate_proj, self.up_proj, self.down_proj = linear(64, 128), linear(64, 128), linear(128, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))

    def four_bits(*shape: int) -> torch.nn.Module:
        return bitsandbytes.nn.Linear4bit(*shape, compute_dtype=torch.float32, quant_storage=torch.float32)

    fused = []
    for linear in (torch.nn.Linear, four_bits):
        config = LoraConfig(target_modules=["gate_proj", "up_proj", "down_proj"])
        base = torch.nn.Sequential(Mlp(linear)).to("cpu")
        base.is_loaded_in_4bit = linear is four_bits  # as transformers marks it, for PEFT to see
        model = get_peft_model(base, config)
        fused.append((fuse_lora(model), fuse_mlps(model)))
    assert fused == [(3, 1), (0, 0)]
