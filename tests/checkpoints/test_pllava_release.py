"""PLLaVA's released layout to our PLLaVA, on a tiny checkpoint wrapped by PEFT itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints.authors_layouts import (
    PIECES,
    PLLAVA_ROWS,
    POOLING,
    Weights,
    lora_config,
    make_pllava,
    pllava_weights,
    write_pllava,
)
from conftest import run_recipe
from transformers import AutoModelForImageTextToText, AutoProcessor

from vistadpo_plugin.commands.convert import main

SHAPE = ["--pooling-shape", *map(str, POOLING)]


@pytest.fixture(scope="module")
def truth() -> Any:
    """The base model."""
    return make_pllava()


@pytest.fixture(scope="module")
def release(truth: Any) -> Weights:
    weights = pllava_weights(truth)
    assert "language_model.base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight" in weights
    assert "language_model.base_model.model.model.layers.1.self_attn.v_proj.lora_B.default.weight" in weights
    return weights


@pytest.fixture(scope="module")
def released(release: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pllava(tmp_path_factory.mktemp("pllava") / "released", release)


@pytest.fixture(scope="module")
def converted(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With alpha as it is when none is given."""
    output = tmp_path_factory.mktemp("merged") / "model"
    assert main(["pllava", str(released), "-o", str(output), "--file-size", "200KB", *SHAPE]) == 0
    assert len(list(output.glob("*.safetensors"))) > 2
    return output


def load(folder: Path) -> Any:
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert report["missing_keys"] == report["unexpected_keys"] == set()
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    tokens = math.prod(POOLING)
    ids = torch.tensor([[1, *[PIECES + 2] * tokens, 5, 60, 7, 90, 33]])
    pixels = torch.randn(1, POOLING[0], 3, 28, 28, generator=generator)
    with torch.no_grad():
        return model(input_ids=ids, pixel_values_videos=pixels).logits


def unmerged(release: Weights, alpha: float) -> Any:
    """The base model with LoRA beside it: PEFT's own forward, nothing merged."""
    from peft import inject_adapter_in_model

    model = make_pllava()
    inject_adapter_in_model(lora_config(alpha), model.model.language_model)
    lora = {
        name.removeprefix("language_model.base_model.model.model."): value
        for name, value in release.items()
        if "lora_" in name
    }
    report = model.model.language_model.load_state_dict(lora, strict=False)
    assert lora
    assert not report.unexpected_keys
    return model.eval()


@pytest.mark.parametrize("alpha", [4.0, 32.0])
def test_logits_are_those_of_the_unmerged_model(
    truth: Any, release: Weights, released: Path, tmp_path: Path, alpha: float
) -> None:
    assert main(["pllava", str(released), "-o", str(tmp_path / "out"), "--alpha", str(alpha), *SHAPE]) == 0
    found, expected = logits(load(tmp_path / "out")), logits(unmerged(release, alpha))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert (expected - logits(truth)).abs().max() > 0.1
    assert (expected - logits(unmerged(release, 36.0 - alpha))).abs().max() > 0.1


def test_alpha_scales_what_is_added(truth: Any, converted: Path, released: Path, tmp_path: Path) -> None:
    """32 adds exactly 8 times what the default adds, to q and v alone; every other weight is the base model's."""
    assert main(["pllava", str(released), "-o", str(tmp_path / "out"), "--alpha", "32", *SHAPE]) == 0
    base, four, many = (model.state_dict() for model in (truth, load(converted), load(tmp_path / "out")))
    changed = [name for name, value in base.items() if not torch.equal(four[name], value)]
    assert len(changed) == 4
    assert all(".language_model." in name and name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    for name in changed:
        added, more = four[name].double() - base[name].double(), many[name].double() - base[name].double()
        assert added.abs().max() > 0.01
        torch.testing.assert_close(more, 8 * added, rtol=1e-4, atol=1e-5)


def test_other_spellings(truth: Any, release: Weights, converted: Path, tmp_path: Path) -> None:
    """PEFT's older names, and a tower without `vision_model.`."""
    older = {name.replace(".base_layer.", ".").replace("vision_model.", ""): value for name, value in release.items()}
    source = write_pllava(tmp_path / "in", older)
    assert main(["pllava", str(source), "-o", str(tmp_path / "out"), *SHAPE]) == 0
    found, expected = load(tmp_path / "out").state_dict(), load(converted).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_no_lora_at_all(truth: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = {"language_model.lm_head.weight": truth.lm_head.weight.detach().clone()}
    plain |= {
        f"language_model.model.{name}": value.clone() for name, value in truth.model.language_model.state_dict().items()
    }
    rest = {name: value for name, value in pllava_weights(truth).items() if not name.startswith("language_model.")}
    source = write_pllava(tmp_path / "in", {**plain, **rest})
    assert main(["pllava", str(source), "-o", str(tmp_path / "out"), *SHAPE]) == 0
    assert "no LoRA in it: --alpha had no effect" in capsys.readouterr().out
    torch.testing.assert_close(logits(load(tmp_path / "out")), logits(truth))


def test_half_precision_stays_half(tmp_path: Path) -> None:
    source = write_pllava(tmp_path / "in", pllava_weights(make_pllava(torch.bfloat16)))
    assert main(["pllava", str(source), "-o", str(tmp_path / "out"), *SHAPE]) == 0
    model = load(tmp_path / "out")
    assert model.config.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_tokens_and_configuration(converted: Path) -> None:
    processor = AutoProcessor.from_pretrained(converted)
    config = load(converted).config
    assert processor.tokenizer.convert_tokens_to_ids(["<image>", "<pad>", "<video>"]) == [
        PIECES,
        PIECES + 1,
        PIECES + 2,
    ]
    assert (config.image_token_id, config.video_token_id, config.pad_token_id) == (PIECES, PIECES + 2, PIECES + 1)
    assert config.text_config.vocab_size == PLLAVA_ROWS
    assert config.pooling_shape == processor.pooling_shape == POOLING
    videos = [torch.zeros(8, 3, 28, 28, dtype=torch.uint8)]
    inputs = processor(text="USER: <video>\na", videos=videos, return_tensors="pt")
    assert (inputs["input_ids"] == PIECES + 2).sum() == math.prod(POOLING)
    assert inputs["pixel_values_videos"].shape == (1, 8, 3, 28, 28)


def test_save_and_load_again(converted: Path, tmp_path: Path) -> None:
    model = load(converted)
    model.save_pretrained(tmp_path)
    again = load(tmp_path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_it_trains(recipe: dict[str, Any], converted: Path) -> None:
    changes = {"model_name_or_path": str(converted), "template": "pllava", "cutoff_len": 1024, "max_steps": 1}
    (loss,) = run_recipe({**recipe, **changes}).series("loss")
    assert math.isfinite(loss)


def without(*parts: str) -> Any:
    def change(weights: Weights) -> None:
        for name in [name for name in weights if any(part in name for part in parts)]:
            del weights[name]

    return change


def add(name: str) -> Any:
    return lambda weights: weights.update({name: torch.zeros(3)})


def shorten(name: str) -> Any:
    return lambda weights: weights.update({name: weights[name][:-1].clone()})


Q = "language_model.base_model.model.model.layers.0.self_attn.q_proj"
ERRORS: dict[str, tuple[Any, dict[str, Any], list[str], str]] = {
    "missing": (
        without("layers.1.mlp.up_proj"),
        {},
        [],
        "1 weights are missing: model.language_model.layers.1.mlp.up_proj.weight.",
    ),
    "no tower": (without("vision_tower"), {}, [], "model.vision_tower.embeddings.patch_embedding.weight, "),
    "stray": (add("image_newline"), {}, [], "1 weights have no place in the model: image_newline."),
    "shape": (
        shorten("multi_modal_projector.linear_1.bias"),
        {},
        [],
        "model.multi_modal_projector.linear_1.bias is [63], expected [64]",
    ),
    "adapters alone": (
        without("base_layer", "layernorm", "mlp", "embed"),
        {},
        [],
        "has LoRA weights but no base weight",
    ),
    "half a pair": (without("layers.0.self_attn.q_proj.lora_B"), {}, [], f"{Q} has LoRA weights but no lora_B"),
    "alpha": (None, {}, ["--alpha", "0"], "alpha is 0; it has to be above 0"),
    "file size": (None, {}, ["--file-size", "5 files"], "Unit 'ES' not supported"),
    "another tokenizer": (None, {"image_token_index": 64000}, [], f"<image> is token {PIECES} of the tokenizer, but"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(release: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    change, config, options, sentence = ERRORS[case]
    weights = dict(release)
    if change:
        change(weights)
    source = write_pllava(tmp_path / "in", weights, **config)
    assert main(["pllava", str(source), "-o", str(tmp_path / "out"), *options, *SHAPE]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.glob("out*")) == []
