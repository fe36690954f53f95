"""The keys of a recipe, and the host's rules for frames that are kept here a second time so that it is not imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from barcode_rows import MATE_ROW, ROW, settings_for, write_rows
from PIL import Image

from vistadpo_plugin.models import families
from vistadpo_plugin.preview.captions import seen_square
from vistadpo_plugin.preview.settings import PreviewSettings, make_settings, read_recipe


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_rows(tmp_path, ROW, MATE_ROW)


# --- the host's rules


@pytest.mark.parametrize("size", [(640, 360), (256, 256), (257, 256), (100, 3000), (12, 9), (16, 16), (1, 1), (64, 48)])
@pytest.mark.parametrize("limits", [{}, {"video_max_pixels": 4000, "video_min_pixels": 1000}])
def test_frames_are_shrunk_as_the_host_does(path: Path, size: tuple[int, int], limits: dict[str, int]) -> None:
    from llamafactory.data.mm_plugin import BasePlugin

    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    most, least = limits.get("video_max_pixels", 256 * 256), limits.get("video_min_pixels", 16 * 16)
    host = BasePlugin(None, None, None)._preprocess_image(image, image_max_pixels=most, image_min_pixels=least)
    ours = settings_for(path, path.parent, **limits).builder().shrink(image)
    assert ours.size == host.size and ours.tobytes() == host.tobytes()


def test_the_templates_with_a_fixed_number_of_frames_are_known() -> None:
    from llamafactory.data.template import TEMPLATES

    import vistadpo_plugin.host  # noqa: F401

    fixed = [name for name, template in TEMPLATES.items() if hasattr(template.mm_plugin, "fixed_frames")]
    assert sorted(fixed) == sorted(name for family in families() if family.exact_frames for name in family.templates)


@pytest.mark.parametrize("family", ["video_llava", "llava_next_video"])
@pytest.mark.parametrize("size", [(341, 192), (192, 341), (224, 224)])
def test_the_square_that_is_not_dimmed_is_what_the_processor_keeps(family: str, size: tuple[int, int]) -> None:
    """The frame gets brighter from left to right and from top to bottom, so its pixels say where they come from."""
    import torch
    from transformers import LlavaNextVideoVideoProcessor, VideoLlavaVideoProcessor

    processor = {"video_llava": VideoLlavaVideoProcessor, "llava_next_video": LlavaNextVideoVideoProcessor}[family]()
    width, height = size
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width)[None, :]
    ramp[..., 1] = np.linspace(0, 255, height)[:, None]
    made = processor(
        videos=[[Image.fromarray(ramp)] * 2], do_normalize=False, do_rescale=False, return_tensors="pt"
    )  # fmt: skip
    kept = next(value for name, value in made.items() if "pixel_values" in name)[0, 0].to(torch.float) / 255
    assert kept.shape == (3, 224, 224)
    left, top, wide, high = seen_square(size)
    found = [kept[0, 112, 0], kept[1, 0, 112], kept[0, 112, -1], kept[1, -1, 112]]
    assert [value.item() for value in found] == pytest.approx([left, top, left + wide, top + high], abs=0.012)


# --- keys


def test_without_a_recipe_it_is_video_llava_on_eight_frames(path: Path) -> None:
    settings = make_settings(None, {}, str(path), None)
    builder = settings.builder()
    assert (builder.fixed_frames, builder.seed, settings.pairing_seed) == (8, 42, 42)
    assert settings.vista.vista_keys_that_differ() == []
    assert settings.media_dir == str(path.parent) and settings.files == (str(path),)
    assert settings.crop


def test_another_family_takes_the_host_s_rule_and_is_not_cropped(path: Path) -> None:
    settings = make_settings(None, {"template": "qwen2_vl"}, str(path), None)
    builder = settings.builder()
    assert (builder.fixed_frames, builder.video_fps, builder.video_maxlen) == (None, 2.0, 128)
    assert not settings.crop
    assert make_settings(None, {"template": "qwen2_vl"}, str(path), True).crop
    assert not make_settings(None, {}, str(path), False).crop


RECIPE = {
    "stage": "vistadpo",
    "template": "video_llava",
    "model_name_or_path": "nowhere",
    "learning_rate": 5.0e-7,
    "vista_mask_fill": "blur",
    "vista_clip_frames": 4,
    "vista_token_weight": 0,
    "video_maxlen": 16,
    "video_max_pixels": 1024,
    "seed": 7,
    "data_seed": 9,
    "dataset": "rows, more",
}


@pytest.fixture
def recipe(path: Path) -> dict[str, Any]:
    """A recipe on two data sets, the second a folder."""
    folder = path.parent / "more"
    folder.mkdir()
    write_rows(folder, MATE_ROW)
    entries = {
        "rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"},
        "more": {"file_name": "more", "formatting": "vistadpo"},
        "plain": {"file_name": "plain.json", "ranking": True},
    }
    (path.parent / "dataset_info.json").write_text(json.dumps(entries))
    return {**RECIPE, "dataset_dir": str(path.parent)}


def settings_of(recipe: dict[str, Any], folder: Path, changes: dict[str, Any] | None = None) -> PreviewSettings:
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe))
    return make_settings(read_recipe(str(file)), changes or {}, None, None)


def test_a_recipe_says_it_all(recipe: dict[str, Any], tmp_path: Path) -> None:
    settings = settings_of(recipe, tmp_path)
    builder = settings.builder()
    assert (builder.fixed_frames, builder.seed, settings.pairing_seed) == (16, 7, 9)
    assert (builder.view_keys.mask_fill, builder.view_keys.clip_frames) == ("blur", 4)
    assert "token" not in builder.view_keys.terms
    assert builder.shrink(Image.new("RGB", (64, 64))).size == (32, 32)
    assert settings.files == (str(tmp_path / "rows.jsonl"), str(tmp_path / "more" / "rows.jsonl"))
    assert settings.media_dir == str(tmp_path)  # the host's default, the dataset_dir
    assert settings_of({**recipe, "media_dir": "media"}, tmp_path).media_dir == "media"


def test_a_recipe_s_frames_default_to_the_host_s(recipe: dict[str, Any], tmp_path: Path) -> None:
    del recipe["video_maxlen"]
    assert settings_of(recipe, tmp_path).builder().fixed_frames == 128


def test_options_win_over_the_recipe(recipe: dict[str, Any], tmp_path: Path) -> None:
    settings = settings_of(
        recipe, tmp_path, {"vista_mask_fill": "white", "video_maxlen": 2, "seed": 1, "data_seed": None}
    )
    assert (settings.vista.vista_mask_fill, settings.builder().fixed_frames) == ("white", 2)
    assert (settings.seed, settings.pairing_seed) == (1, 1)


def test_rows_named_beside_a_recipe_are_taken_instead_of_its_own(recipe: dict[str, Any], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    path = write_rows(other, ROW)
    settings = make_settings(recipe, {}, str(path), None)
    assert settings.files == (str(path),) and settings.media_dir == str(other)
    assert make_settings({**recipe, "media_dir": "media"}, {}, str(path), None).media_dir == "media"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage": "dpo"}, "trains `stage: dpo`"),
        ({"template": None}, "names no `template`"),
        ({"vista_mask_fil": "blur"}, "Did you mean `vista_mask_fill`"),
        ({"vista_mask_fill": "pink"}, "allowed: mean, black, white, blur"),
        ({"video_maxlen": 0}, "`video_maxlen` is 0; allowed: a whole number, 1 or larger"),
        ({"video_fps": "fast"}, "`video_fps` is 'fast'; allowed: a finite number above 0"),
        ({"seed": -1}, "`seed` is -1"),
        ({"dataset": None}, "no rows to look at"),
        ({"dataset": "row"}, "has no data set 'row'. Did you mean 'rows'"),
        ({"dataset": "rows,plain"}, "'plain'"),
        ({"dataset_dir": "nowhere"}, "nowhere"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    recipe: dict[str, Any], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        settings_of({**recipe, **changes}, tmp_path)


def test_a_recipe_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    for name, said in (("list.yaml", "is no recipe"), ("broken.yaml", "cannot read"), ("absent.yaml", "cannot read")):
        with pytest.raises(ValueError, match=said):
            read_recipe(str(tmp_path / name))
