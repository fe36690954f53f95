"""LLaVA-Hound's layout to transformers' Video-LLaVA, on a tiny checkpoint built in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints.authors_layouts import (
    PIECES,
    TEXT,
    VISION,
    Weights,
    hound_weights,
    make_video_llava,
    write_hound,
    write_languagebind,
    write_vision_config,
)
from conftest import Run, run_recipe
from transformers import AutoModelForImageTextToText, AutoProcessor

from vistadpo_plugin.commands.convert import main

LAYERS, TOWER_LAYERS = TEXT["num_hidden_layers"], VISION["num_hidden_layers"]
ROWS = 384  # 320 pieces and 3 tokens, in steps of 64


@pytest.fixture(scope="module")
def truth() -> Any:
    return make_video_llava()


@pytest.fixture(scope="module")
def released(truth: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hound(tmp_path_factory.mktemp("hound") / "released", hound_weights(truth))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_config(tmp_path_factory.mktemp("vision"))


@pytest.fixture(scope="module")
def converted(released: Path, vision: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("converted") / "model"
    options = ["--vision-config", str(vision), "--file-size", "300KB"]
    assert main(["llava-hound", str(released), "-o", str(output), *options]) == 0
    assert (output / "model.safetensors.index.json").is_file()
    assert not output.with_name("model.part").exists()
    return output


def load(folder: Path) -> Any:
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert report["missing_keys"] == report["unexpected_keys"] == set()
    return model.eval()


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Of a text with a video and an image, over the first PIECES tokens of the vocabulary."""
    generator = torch.Generator().manual_seed(3)
    image, video = model.config.image_token_id, model.config.video_token_id
    row = [1, *[video] * 40, *ids, *[image] * 4, *ids]
    pixels = {
        "pixel_values_videos": torch.randn(1, 8, 3, 28, 28, generator=generator),
        "pixel_values_images": torch.randn(1, 3, 28, 28, generator=generator),
    }
    with torch.no_grad():
        return model(input_ids=torch.tensor([row]), **pixels).logits[0, :, :PIECES]


def test_the_model_is_the_same(truth: Any, converted: Path) -> None:
    """Weights by name, and logits of text, video and image; the original here has a vocabulary without new tokens."""
    model = load(converted)
    weights, true = model.state_dict(), truth.state_dict()
    for name, value in true.items():
        assert torch.equal(weights[name][: len(value)] if value.dim() else weights[name], value), name

    wider = make_video_llava()
    wider.resize_token_embeddings(ROWS)
    found, expected = logits(model, [5, 60, 7]), logits(wider, [5, 60, 7])
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_tokens_and_configuration(truth: Any, converted: Path) -> None:
    processor = AutoProcessor.from_pretrained(converted)
    config = load(converted).config
    assert processor.tokenizer.convert_tokens_to_ids(["<image>", "<video>", "<pad>"]) == [
        PIECES,
        PIECES + 1,
        PIECES + 2,
    ]
    assert (config.image_token_id, config.video_token_id, config.pad_token_id) == (PIECES, PIECES + 1, PIECES + 2)
    assert config.text_config.vocab_size == ROWS
    assert config.text_config.rope_parameters["rope_theta"] == TEXT["rope_theta"]
    assert config.text_config.rms_norm_eps == TEXT["rms_norm_eps"]
    assert config.vision_config.hidden_act == "gelu"
    inputs = processor(
        text="USER: <video>a", videos=[torch.zeros(8, 3, 28, 28, dtype=torch.uint8)], return_tensors="pt"
    )
    assert (inputs["input_ids"] == PIECES + 1).sum() == 8 * 5
    assert inputs["pixel_values_videos"].shape == (1, 8, 3, 28, 28)


def test_new_rows_are_the_mean(truth: Any, converted: Path) -> None:
    weights = load(converted).state_dict()
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        assert weights[name].shape == (ROWS, TEXT["hidden_size"])
        mean = truth.state_dict()[name].double().mean(0)
        torch.testing.assert_close(
            weights[name][PIECES:].double(), mean.expand(ROWS - PIECES, -1), rtol=1e-5, atol=1e-6
        )


def test_what_is_left_out_is_counted(
    released: Path, vision: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["llava-hound", str(released), "-o", str(tmp_path / "out"), "--vision-config", str(vision)]) == 0
    said = capsys.readouterr().out
    assert f"left out: {3 * TOWER_LAYERS} weights of temporal attention" in said
    assert f"left out: {LAYERS} weights rotary frequencies" in said
    assert "left out: 1 weights position ids" in said
    assert f"<image> {PIECES}, <video> {PIECES + 1}, <pad> {PIECES + 2}; {ROWS} rows" in said


def test_save_and_load_again(converted: Path, tmp_path: Path) -> None:
    model = load(converted)
    model.save_pretrained(tmp_path)
    again = load(tmp_path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_it_trains(recipe: dict[str, Any], converted: Path) -> None:
    run: Run = run_recipe({**recipe, "model_name_or_path": str(converted), "cutoff_len": 1024, "max_steps": 1})
    (loss,) = run.series("loss")
    assert math.isfinite(loss)


def tower(truth: Any, name: str) -> Weights:
    return {key: value.clone() for key, value in getattr(truth.model, name).state_dict().items()}


def without_towers(truth: Any, *names: str) -> Weights:
    return {key: value for key, value in hound_weights(truth).items() if not any(name in key for name in names)}


def test_towers_of_languagebind(truth: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each tower from its own folder, whose config.json describes it; their text side is left behind and counted."""
    source = write_hound(tmp_path / "in", without_towers(truth, "video_tower", "image_tower"))
    folders = [
        option
        for kind in ("video", "image")
        for option in (
            f"--{kind}-tower",
            str(write_languagebind(tmp_path / kind, tower(truth, f"{kind}_tower"))),
        )
    ]
    assert main(["llava-hound", str(source), "-o", str(tmp_path / "out"), *folders]) == 0
    assert "left out: 6 weights of LanguageBind's text side" in capsys.readouterr().out
    weights = load(tmp_path / "out").state_dict()
    for name, value in truth.state_dict().items():
        if "_tower." in name:
            assert torch.equal(weights[name], value), name


@pytest.mark.parametrize("layout", ["published", "module"])
def test_towers_of_a_video_llava(truth: Any, tmp_path: Path, layout: str) -> None:
    from huggingface_hub import save_torch_state_dict

    source = write_hound(tmp_path / "in", without_towers(truth, "video_tower", "image_tower"))
    port = tmp_path / "port"
    truth.config.save_pretrained(port)
    weights = truth.state_dict()
    if layout == "published":
        weights = {
            name.removeprefix("model.").replace("tower.", "tower.vision_model.", 1): weights[name] for name in weights
        }
    save_torch_state_dict(weights, port)
    assert main(["llava-hound", str(source), "-o", str(tmp_path / "out"), "--towers-from", str(port)]) == 0
    found = load(tmp_path / "out").state_dict()
    assert all(torch.equal(found[name], value) for name, value in truth.state_dict().items() if "_tower." in name)


def rename_one(weights: Weights) -> None:
    weights["model.layers.0.self_attn.q_proj.scale"] = torch.zeros(1)


def shorten_one(weights: Weights) -> None:
    weights["model.norm.weight"] = weights["model.norm.weight"][:-1].clone()


ERRORS = {
    "missing": (
        lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"),
        {},
        [],
        ["1 weights are missing: model.language_model.layers.1.mlp.up_proj.weight"],
    ),
    "stray": (rename_one, {}, [], ["1 weights have no place in the model: ", "layers.0.self_attn.q_proj.scale"]),
    "shape": (shorten_one, {}, [], ["model.language_model.norm.weight is [63], expected [64]"]),
    "unknown projector": (None, {"mm_projector_type": "linear"}, [], ["'linear'", "mlp2x_gelu"]),
    "tokens around": (None, {"mm_use_x_start_end": True}, [], ["mm_use_x_start_end is set"]),
    "class token": (None, {"mm_vision_select_feature": "cls_patch"}, [], ["mm_vision_select_feature is 'cls_patch'"]),
    "no tower": (
        lambda weights: [weights.pop(name) for name in list(weights) if "video_tower" in name],
        {},
        [],
        ["no weights of its video_tower", "--video-tower FOLDER", "--towers-from FOLDER"],
    ),
    "two towers": (None, {}, ["--towers-from"], ["has its own video_tower; leave out --towers-from"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(
    truth: Any, vision: Path, converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    change, config, options, sentences = ERRORS[case]
    weights = hound_weights(truth)
    if change:
        change(weights)
    source = write_hound(tmp_path / "in", weights, **config)
    options = [part for option in options for part in (option, str(converted))]
    arguments = ["llava-hound", str(source), "-o", str(tmp_path / "out"), "--vision-config", str(vision), *options]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert all(sentence in said for sentence in sentences), said
    assert not (tmp_path / "out").exists()


def test_towers_that_disagree(truth: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_hound(tmp_path / "in", without_towers(truth, "video_tower", "image_tower"))
    folders = []
    for kind in ("video", "image"):
        folder = write_languagebind(tmp_path / kind, tower(truth, f"{kind}_tower"))
        folders += [f"--{kind}-tower", str(folder)]
    write_vision_config(tmp_path / "image", hidden_act="quick_gelu")
    assert main(["llava-hound", str(source), "-o", str(tmp_path / "out"), *folders]) == 2
    said = capsys.readouterr().err
    assert f"hidden_act is gelu in {tmp_path / 'video'} and quick_gelu in {tmp_path / 'image'}" in said
    assert "--vision-config" in said
