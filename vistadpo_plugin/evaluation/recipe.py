"""The evaluation recipe: which models answer the questions of which benchmarks, read without the host."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.vllm_backend.support import BACKENDS, ENGINE_KEYS, VLLM, refusal

HOST_KEYS = (
    "model_name_or_path",
    "adapter_name_or_path",
    "adapter_folder",
    "finetuning_type",
    "model_revision",
    "trust_remote_code",
    "use_fast_tokenizer",
    "resize_vocab",
    "infer_dtype",
    "flash_attn",
    "use_kv_cache",
    "low_cpu_mem_usage",
    "rope_scaling",
    "quantization_bit",
    "quantization_method",
    "quantization_type",
    "double_quantization",
    "quantization_device_map",
    "template",
    "default_system",
    "enable_thinking",
    "video_maxlen",
    "video_fps",
    "video_max_pixels",
    "video_min_pixels",
    "image_max_pixels",
    "image_min_pixels",
)
"""The host's inference keys that a model may have; the same names mean the same in `llamafactory-cli chat`."""

REQUIRED = ("model_name_or_path", "template", "video_maxlen")
FRAME_KEYS = ("video_maxlen", "video_fps", "video_max_pixels", "video_min_pixels")
BACKEND_KEYS = ("infer_backend", *ENGINE_KEYS)
"""The host's keys of what runs the model."""
_MODEL_KEYS = (*HOST_KEYS, *BACKEND_KEYS)
_OWN_KEYS = ("models", "benchmarks", "general", "output_dir", "batch_size", "max_new_tokens", "judge")


class RecipeError(ValueError):
    """A recipe that cannot be run as it is written; the message names the key."""


@dataclass(frozen=True)
class Folders:
    """Where a benchmark's annotation files and videos lie."""

    annotations: Path
    videos: Path


@dataclass(frozen=True)
class Recipe:
    """`models`: the host's keys of each model by its name, the first being what the others are held against; `judge`:
    `model` and `base_url` of the endpoint, None where nothing is judged; `general`: the benchmarks of general ability,
    which must not fall; `batch_size`: None for the backend's own."""

    models: dict[str, dict[str, Any]]
    benchmarks: dict[str, Folders]
    output_dir: Path
    batch_size: int | None
    max_new_tokens: int
    judge: dict[str, str] | None
    general: tuple[str, ...] = ()


class _Loader(yaml.SafeLoader):
    """PyYAML's, which by itself keeps the last of two models with one name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        doubled = [name for name, count in Counter(names).items() if count > 1]
        if doubled:
            raise yaml.constructor.ConstructorError(None, None, f"`{doubled[0]}` is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_recipe(path: Path) -> Recipe:
    """An evaluation recipe. Raises RecipeError for a file that is none, with the key that is wrong."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"cannot read the recipe: {error}") from None
    recipe = read_mapping(content, "the recipe")
    check_names(recipe, (*_OWN_KEYS, *_MODEL_KEYS), "key")
    shared = {key: value for key, value in recipe.items() if key in _MODEL_KEYS}
    models = {}
    for name, keys in read_mapping(recipe.get("models"), "`models`").items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise RecipeError(f"`models`: {name!r} becomes a folder; use letters, digits, dot, dash and underscore.")
        models[name] = _model(f"`models: {name}`", {**shared, **read_mapping(keys or {}, f"`models: {name}`")})
    _check_engine_keys(recipe, models)
    benchmarks = read_mapping(recipe.get("benchmarks"), "`benchmarks`")
    check_names(benchmarks, BENCHMARKS, "benchmark")
    if not models or not benchmarks:
        raise RecipeError(f"`{'benchmarks' if models else 'models'}` is empty: there is nothing to evaluate.")
    if not isinstance(recipe.get("output_dir"), str):
        raise RecipeError("`output_dir` is missing: name the folder for questions, replies and the report.")
    return Recipe(
        models=models,
        benchmarks={name: read_folders(f"`benchmarks: {name}`", folders) for name, folders in benchmarks.items()},
        output_dir=Path(recipe["output_dir"]),
        batch_size=read_count(recipe, "batch_size", 1) if "batch_size" in recipe else None,
        max_new_tokens=read_count(recipe, "max_new_tokens", 128),
        judge=_judge(recipe.get("judge")),
        general=_general(recipe.get("general"), benchmarks),
    )


def _check_engine_keys(recipe: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RecipeError for a key of vLLM where no model is asked through it."""
    given = [*recipe, *(key for own in recipe["models"].values() for key in own or {})]
    idle = [key for key in given if key in ENGINE_KEYS]
    if idle and not any(keys.get("infer_backend") == VLLM for keys in models.values()):
        raise RecipeError(f"`{idle[0]}` says nothing without `infer_backend: vllm`. Leave it out, or set that.")


def _general(given: Any, benchmarks: Iterable[str]) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise RecipeError(f"`general` is {given!r:.60}; a list of names under `benchmarks` is expected.")
    check_names(given, benchmarks, "benchmark in `general`:")
    return tuple(dict.fromkeys(given))


def read_mapping(value: Any, what: str) -> dict[str, Any]:
    """Names and values, as YAML has them. Raises RecipeError."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RecipeError(f"{what}: names and values are expected, not {value!r:.60}.")
    return value


def check_names(given: Iterable[str], known: Iterable[str], kind: str) -> None:
    """Raise RecipeError for a name that is not known, with the nearest one."""
    known = list(known)
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise RecipeError(f"unknown {kind} `{name}`. Did you mean `{nearest}`?")


def _model(where: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """A model's keys, without those that are set to nothing."""
    check_names(keys, _MODEL_KEYS, f"key in {where}:")
    keys = {key: keys[key] for key in _MODEL_KEYS if keys.get(key) is not None}
    backend = keys.get("infer_backend", BACKENDS[0])
    if backend not in BACKENDS:
        raise RecipeError(f"{where}: `infer_backend` is {backend!r}; allowed: {', '.join(BACKENDS)}.")
    if backend != VLLM:  # the host's own inference, which needs no word, and to which the keys of vLLM say nothing
        keys = {key: value for key, value in keys.items() if key not in BACKEND_KEYS}
    missing = [key for key in REQUIRED if key not in keys]
    if missing:
        raise RecipeError(f"{where} has no `{missing[0]}`; give it as in the training recipe.")
    for key in ("model_name_or_path", "adapter_name_or_path", "template"):
        if key in keys and not isinstance(keys[key], str):
            raise RecipeError(f"{where}: `{key}` is {keys[key]!r}; a text is expected.")
    read_count(keys, "video_maxlen", 1)
    read_count(keys, "vllm_maxlen", 1)
    if backend == VLLM and (sentence := refusal(keys)):
        raise RecipeError(f"{where}: {sentence}")
    return keys


def read_folders(where: str, given: Any) -> Folders:
    """Where a benchmark lies. Raises RecipeError naming `where` the recipe is wrong."""
    folders = read_mapping(given, where)
    check_names(folders, ("annotations", "videos"), f"key in {where}:")
    for key in ("annotations", "videos"):
        if not isinstance(folders.get(key), str):
            raise RecipeError(f"{where}: `{key}` is missing; name a folder.")
    return Folders(Path(folders["annotations"]), Path(folders["videos"]))


def _judge(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    judge = read_mapping(given, "`judge`")
    check_names(judge, ("model", "base_url"), "key in `judge`:")
    if not isinstance(judge.get("model"), str) or not isinstance(judge.get("base_url", ""), str):
        raise RecipeError("`judge` needs a `model`, and may have a `base_url`; both are texts.")
    return judge


def read_count(keys: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number from 1. Raises RecipeError."""
    value = keys.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RecipeError(f"`{key}` is {value!r}; allowed: a whole number, 1 or larger.")
    return value
