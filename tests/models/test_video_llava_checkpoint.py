"""Video-LLaVA's published key layout: which weights arrive in the model, through transformers and through the host."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Demo, Run, run_recipe
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, conversion_mapping

from vistadpo_plugin.models.video_llava import FAMILY

Weights = dict[str, torch.Tensor]


def published(key: str) -> str:
    """A key that `save_pretrained` writes, as the published checkpoint has it: there towers keep `vision_model.`."""
    tower, _, rest = key.partition(".")
    return f"{tower}.vision_model.{rest}" if tower in FAMILY.towers else key


def copy_model(source: Path, folder: Path, weights: Weights, shard: str = "5GB") -> Path:
    """The model folder `source` with other weights, in files of at most `shard`."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    save_torch_state_dict(weights, folder, max_shard_size=shard)
    return folder


def load(folder: Path) -> tuple[Weights, dict[str, Any]]:
    """The weights as they arrive in transformers' own model, and its loading report."""
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    return model.state_dict(), report


def assert_same(found: Weights, true: Weights) -> None:
    assert found.keys() == true.keys()
    assert [key for key in true if not torch.equal(found[key], true[key])] == []


@pytest.fixture(scope="module")
def layouts(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model, its keys as published (in several files too), as transformers saves them, and as its module does."""
    folder = tmp_path_factory.mktemp("layouts")
    saved = load_file(demo.model / "model.safetensors")
    weights = {published(key): value for key, value in saved.items()}
    assert sum(key.startswith("image_tower.vision_model.") for key in weights) > 10
    made = {
        "published": copy_model(demo.model, folder / "published", weights),
        "sharded": copy_model(demo.model, folder / "sharded", weights, "500KB"),
        "saved": demo.model,
        "module": copy_model(demo.model, folder / "module", load(demo.model)[0]),
    }
    assert len(list(made["sharded"].glob("*.safetensors"))) > 2
    return made


@pytest.fixture
def without_plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and until the test's end transformers knows its own names of weights only."""
    return lambda: monkeypatch.setattr(conversion_mapping, "_checkpoint_conversion_mapping_cache", None)


@pytest.fixture(autouse=True)
def registered() -> None:
    FAMILY.register()


def test_transformers_alone_leaves_the_image_tower_random(
    layouts: dict[str, Path], demo: Demo, without_plugin: Callable[[], None]
) -> None:
    """The day this fails, transformers loads the published layout, and `register_towers` can go."""
    true, _ = load(demo.model)
    without_plugin()
    found, report = load(layouts["published"])
    image_tower = {key for key in true if key.startswith("model.image_tower.")}
    assert report["missing_keys"] == image_tower
    # Biases and norms start as constants and the tiny model's too; matrices and embeddings are drawn anew.
    differing = {key for key in true if not torch.equal(found[key], true[key])}
    assert differing <= image_tower
    assert "model.image_tower.encoder.layers.0.self_attn.q_proj.weight" in differing


@pytest.mark.parametrize("layout", ["published", "sharded", "saved", "module"])
def test_every_layout_loads_and_what_is_saved_needs_no_plugin(
    layouts: dict[str, Path], demo: Demo, layout: str, tmp_path: Path, without_plugin: Callable[[], None]
) -> None:
    true, _ = load(demo.model)
    model, report = AutoModelForImageTextToText.from_pretrained(layouts[layout], output_loading_info=True)
    assert report["missing_keys"] == report["unexpected_keys"] == set()
    assert_same(model.state_dict(), true)

    model.save_pretrained(tmp_path)
    assert_same(load(tmp_path)[0], true)
    without_plugin()
    again, report = load(tmp_path)
    assert report["missing_keys"] == report["unexpected_keys"] == set()
    assert_same(again, true)


def test_the_host_exports_it_whole(
    layouts: dict[str, Path], demo: Demo, tmp_path: Path, without_plugin: Callable[[], None]
) -> None:
    from llamafactory.train.tuner import export_model

    true, _ = load(demo.model)
    names = {"model_name_or_path": str(layouts["sharded"]), "template": "video_llava"}
    export_model({**names, "export_dir": str(tmp_path), "export_size": 1, "infer_dtype": "float32"})
    without_plugin()
    found, report = load(tmp_path)
    assert report["missing_keys"] == report["unexpected_keys"] == set()
    assert_same(found, true)


def test_the_host_trains_it(train: Callable[..., Run], layouts: dict[str, Path]) -> None:
    losses = train(model_name_or_path=str(layouts["sharded"]), max_steps=1).series("loss")
    assert len(losses) == 1
    assert math.isfinite(losses[0])


def test_a_checkpoint_without_its_image_tower_is_refused(
    recipe: dict[str, Any], layouts: dict[str, Path], demo: Demo, tmp_path: Path
) -> None:
    weights = load_file(layouts["published"] / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("image_tower.")}
    folder = copy_model(demo.model, tmp_path / "model", kept)
    lost = len(weights) - len(kept)
    with pytest.raises(ValueError, match=rf"lacks weights of a Video-LLaVA.*: {lost} in model\.image_tower \(such as"):
        run_recipe({**recipe, "model_name_or_path": str(folder), "max_steps": 1})


def test_misnamed_weights_are_told(recipe: dict[str, Any], demo: Demo, tmp_path: Path) -> None:
    """One key renamed: the sentence has both ends of it."""
    weights = load_file(demo.model / "model.safetensors")
    weights["language_model.model.normal.weight"] = weights.pop("language_model.model.norm.weight")
    folder = copy_model(demo.model, tmp_path / "model", weights)
    sentence = r"1 in model\.language_model \(such as model\.language_model\.norm\.weight\), while 1 of its names fit"
    with pytest.raises(ValueError, match=rf"{sentence} nothing \(such as model\.language_model\.normal\.weight\)"):
        run_recipe({**recipe, "model_name_or_path": str(folder), "max_steps": 1})
