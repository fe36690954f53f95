"""What decides the pictures of a preview: the recipe's keys, without the host that parses them in a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import yaml
from PIL import Image

from vistadpo_plugin.arguments import VistaArguments, check_vista_names, is_finite_number
from vistadpo_plugin.data.video.settings import video_settings
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import Sampling, ViewBuilder
from vistadpo_plugin.models import family_of
from vistadpo_plugin.validation.source import Source, find_source

PICTURE_KEYS = (
    "vista_video_negative",
    "vista_mates",
    "vista_clip_negative",
    "vista_temporal_magnitude",
    "vista_object_negative",
    "vista_mask_fill",
    "vista_clip_frames",
)
"""The vista_* keys that change the pictures themselves; weights and `vista_token_view` only decide which are made."""

VIDEO_LLAVA = "video_llava"
VIDEO_LLAVA_FRAMES = 8
_DEFAULT_SEED = 42  # of the host's trainer
_DEFAULT_DATASET_DIR = "data"  # of the host


class _HostFrames:
    """The multimodal plugin of a template, as far as frames go. Importing the host's takes ten times as long as a
    preview; a test holds this to it, pixel for pixel.
    """

    @staticmethod
    def _preprocess_image(image: Image.Image, image_max_pixels: int, image_min_pixels: int, **_: Any) -> Image.Image:
        if image.width * image.height > image_max_pixels:
            image = _scaled(image, image_max_pixels)
        if image.width * image.height < image_min_pixels:
            image = _scaled(image, image_min_pixels)
        return image.convert("RGB")


def _scaled(image: Image.Image, pixels: int) -> Image.Image:
    factor = math.sqrt(pixels / (image.width * image.height))
    return image.resize((int(image.width * factor), int(image.height * factor)))


@dataclass(frozen=True)
class _HostFixedFrames(_HostFrames):
    sampling: Sampling

    @staticmethod
    def fixed_frames(processor: Any) -> int:
        return video_settings(processor)["video_maxlen"]


@dataclass(frozen=True)
class PreviewSettings:
    """The keys of a recipe that a preview needs, checked; `name` is what the rows go by, `crop` whether the sides of a
    frame are hidden from the model.
    """

    vista: VistaArguments
    frames: FrameCounts
    template: str
    seed: int
    pairing_seed: int
    media_dir: str
    name: str
    files: tuple[str, ...]
    crop: bool

    @property
    def video_fps(self) -> float:
        return video_settings(self.frames.processor)["video_fps"]

    @property
    def view_keys(self) -> ViewKeys:
        return self.frames.view_keys

    def builder(self) -> ViewBuilder:
        """The view builder of a run with these settings."""
        return self.frames.builder(self.seed)

    def describe(self) -> list[tuple[str, str]]:
        """(key, value) of everything that decides the pictures."""
        video = video_settings(self.frames.processor)
        pairs: list[tuple[str, Any]] = [("template", self.template), ("video_maxlen", video["video_maxlen"])]
        if self.frames.fixed is None:
            pairs.append(("video_fps", f"{video['video_fps']:g}"))
        pairs += [(key, getattr(self.vista, key)) for key in PICTURE_KEYS]
        pairs.append(("seed", self.seed))
        return [(key, str(value)) for key, value in pairs if value is not None]


def read_recipe(path: str) -> dict[str, Any]:
    """The keys of a recipe. Raises ValueError for a file that is none, or one of another stage."""
    try:
        with open(path, encoding="utf-8") as stream:
            recipe = yaml.safe_load(stream)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"cannot read the recipe {path}: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} is no recipe: keys and values are expected.")
    if recipe.get("stage") != "vistadpo":
        raise ValueError(f"{path} trains `stage: {recipe.get('stage')}`; only `stage: vistadpo` makes views of a row.")
    return recipe


def make_settings(
    recipe: Mapping[str, Any] | None, changes: Mapping[str, Any], data: str | None, crop: bool | None
) -> PreviewSettings:
    """Settings from a recipe's keys, with `changes` in place of its own; without a recipe, Video-LLaVA's on 8 frames.

    `data` stands in for the recipe's data set, `crop` for what the template's processor does. Raises ValueError.
    """
    keys = {**(recipe if recipe is not None else {"template": VIDEO_LLAVA}), **changes}
    template = keys.get("template")
    if not isinstance(template, str):
        raise ValueError("the recipe names no `template`, so there is no telling how its model takes frames.")
    if recipe is None and template == VIDEO_LLAVA:
        keys.setdefault("video_maxlen", VIDEO_LLAVA_FRAMES)
    check_vista_names(keys)
    vista = VistaArguments(**{item.name: keys[item.name] for item in fields(VistaArguments) if item.name in keys})
    vista.check_vista_values()
    family = family_of(template)
    exact = family is not None and family.exact_frames
    plugin = _HostFixedFrames(family.sampling) if exact else _HostFrames()
    seed = _whole(keys, "seed", 0, _DEFAULT_SEED)

    sources = _sources(keys, data)
    return PreviewSettings(
        vista=vista,
        frames=FrameCounts(plugin, _processor(keys), ViewKeys.of(vista)),
        template=template,
        seed=seed,
        pairing_seed=_whole(keys, "data_seed", 0, seed),
        media_dir=str(keys.get("media_dir") or sources[0].media_dir),
        name=", ".join(source.name for source in sources),
        files=tuple(file for source in sources for file in source.files),
        crop=(family is not None and family.centre_crop) if crop is None else crop,
    )


def _processor(keys: Mapping[str, Any]) -> SimpleNamespace:
    """What the host leaves on the processor; keys that are absent get `video_settings`' defaults."""
    processor = SimpleNamespace()
    for key in ("video_maxlen", "video_max_pixels", "video_min_pixels"):
        if keys.get(key) is not None:
            setattr(processor, key, _whole(keys, key, 1))
    fps = keys.get("video_fps")
    if fps is not None:
        if not is_finite_number(fps) or fps <= 0:
            raise ValueError(f"`video_fps` is {fps!r}; allowed: a finite number above 0.")
        processor.video_fps = float(fps)
    return processor


def _whole(keys: Mapping[str, Any], key: str, least: int, default: int = 0) -> int:
    value = keys.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{key}` is {value!r}; allowed: a whole number, {least} or larger.")
    return value


def _sources(keys: Mapping[str, Any], data: str | None) -> list[Source]:
    """Where the rows are: `data`, or what the recipe's `dataset` names."""
    if data is not None:
        return [find_source(data, None)]
    names = keys.get("dataset")
    if not names:
        raise ValueError("no rows to look at: name a file of rows, or a recipe that has a `dataset`.")
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    return [find_source(str(name), str(keys.get("dataset_dir", _DEFAULT_DATASET_DIR))) for name in names]
