"""Which models can share prefixes, and what happens with those that cannot."""

from __future__ import annotations

import io
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from capture import record_scores
from conftest import Demo, run_recipe
from tiny_qwen import PIXELS, build_tiny_qwen
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from vistadpo_plugin.scoring.attention import share_prefixes, sharing_obstacle

SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def model(of: Any, config: Any, **changes: Any) -> Any:
    made = config(**{**SIZES, **changes})
    with torch.device("meta"):
        return of(made)


def test_linear_attention_cannot_follow_branches() -> None:
    obstacle = sharing_obstacle(
        model(
            Qwen3NextForCausalLM, Qwen3NextConfig, layer_types=["linear_attention", "full_attention"], num_experts=0,
            head_dim=8,
        )
    )  # fmt: skip
    assert obstacle == "its layers have linear_attention, which cannot follow branches"


def test_sliding_windows_cannot_follow_branches() -> None:
    """Qwen2 says so layer by layer, Mistral once for all."""
    window = {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1}
    obstacle = sharing_obstacle(model(Qwen2ForCausalLM, Qwen2Config, **window))
    assert obstacle == "its layers have sliding_attention, which cannot follow branches"
    mistral = model(MistralForCausalLM, MistralConfig, sliding_window=8)
    assert sharing_obstacle(mistral) == "it has sliding-window attention, which cannot follow branches"
    with pytest.raises(ValueError, match="MistralForCausalLM: it has sliding-window attention"):
        share_prefixes(mistral)


def test_rotary_embeddings_that_depend_on_the_length_of_a_row() -> None:
    """A position in a packed row is its depth, and the row longer than any of its answers."""
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    obstacle = sharing_obstacle(model(LlamaForCausalLM, LlamaConfig, rope_parameters=rope))
    assert obstacle == "its rotary embedding (dynamic) depends on how long a row is"


@pytest.mark.parametrize("implementation", ["flash_attention_3", "flex_attention"])
def test_kernels_without_masks_of_ancestors(implementation: str) -> None:
    made = model(LlamaForCausalLM, LlamaConfig)
    made.config._attn_implementation_internal = implementation
    assert sharing_obstacle(made) == (
        f"its attention implementation {implementation} takes no mask of ancestors; set `flash_attn: sdpa`"
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_full_attention_can(implementation: str) -> None:
    for of, config, changes in (
        (LlamaForCausalLM, LlamaConfig, {}),
        (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
        (Qwen2ForCausalLM, Qwen2Config, {"sliding_window": 8, "use_sliding_window": False}),
    ):
        made = model(of, config, attn_implementation=implementation, **changes)
        assert sharing_obstacle(made) is None
        share_prefixes(made)
        share_prefixes(made)  # policy and reference may be one model
        assert sharing_obstacle(made) is None


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_without_a_forest_attention_is_transformers_own(implementation: str) -> None:
    """A padded batch, through the exchanged attention: what the model said before, to the bit."""
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(**SIZES, attn_implementation=implementation)).eval()
    ids = torch.randint(0, 32, (2, 7))
    mask = torch.tensor([[1] * 7, [0] * 3 + [1] * 4])
    before = made(input_ids=ids, attention_mask=mask).logits
    share_prefixes(made)
    after = made(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(after[0], before[0]) and torch.equal(after[1, 3:], before[1, 3:])


def test_the_fallback_is_said_once_and_trains(
    demo: Demo,
    recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Qwen2.5-VL with sliding windows wider than any sequence here: separate rows, and the losses it has without."""
    folders = {name: tmp_path / name for name in ("full", "sliding")}
    build_tiny_qwen(folders["full"], [str(value) for row in demo.rows for value in row.values()])
    shutil.copytree(folders["full"], folders["sliding"])
    path = folders["sliding"] / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= {"use_sliding_window": True, "sliding_window": 1024, "max_window_layers": 1}
    config["text_config"]["layer_types"] = ["full_attention", "sliding_attention"]
    path.write_text(json.dumps(config))
    keys = {"template": "qwen2_vl", "video_fps": 2.0, "cutoff_len": 2048, "video_max_pixels": 4 * PIXELS}
    passes, losses, printed = record_scores(monkeypatch), {}, {}
    host = logging.getLogger("llamafactory")
    said = io.StringIO()
    monkeypatch.setattr(host, "handlers", [*host.handlers, logging.StreamHandler(said)])
    for name, folder in folders.items():
        changes = {"model_name_or_path": str(folder), "video_min_pixels": PIXELS, "output_dir": str(tmp_path / "out")}
        losses[name] = run_recipe({**recipe, **keys, **changes, "max_samples": 4}).series("loss")
        printed[name] = said.getvalue().count("Every answer is a row of its own, which is slower.")
    assert printed == {"full": 0, "sliding": 1}
    shared = [all("forest" in group for group in one.batch["groups"]) for one in passes]
    assert shared == [True] * 4 + [False] * 4
    assert len(losses["sliding"]) == 2 and losses["sliding"][1] != losses["sliding"][0]
    assert losses["sliding"] == pytest.approx(losses["full"], abs=1e-4)
