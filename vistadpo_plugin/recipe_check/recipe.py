"""A recipe as the host itself parses it, on a machine that need not be the one it is for."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What the host holds against the device it runs on; the recipe's own device is another one.
_OF_THE_DEVICE = ("pure_bf16", "fp16", "tf32", "deepspeed")


class Refused(ValueError):
    """A recipe that would not start. The message is the host's own, or ours."""


@dataclass(frozen=True)
class Recipe:
    """The host's arguments, the keys as written, and what is not in the arguments because this device has it not."""

    path: Path
    keys: dict[str, Any]
    model: Any
    data: Any
    training: Any
    finetuning: Any
    zero: dict[str, Any]

    @property
    def on_cpu(self) -> bool:
        return bool(self.keys.get("use_cpu"))

    @property
    def half(self) -> bool:
        """Whether the model runs in 16 bits."""
        return any(self.keys.get(key) for key in ("bf16", "fp16", "pure_bf16"))

    @property
    def zero_stage(self) -> int:
        """DeepSpeed's, 0 without."""
        return int(self.zero.get("zero_optimization", {}).get("stage", 0))

    @property
    def fsdp(self) -> bool:
        return bool(self.training.fsdp)

    @property
    def spreads_parameters(self) -> bool:
        return self.fsdp or self.zero_stage == 3


def read_recipe(path: Path, overrides: list[str]) -> Recipe:
    """Parse a recipe and `key=value` overrides. Raises Refused."""
    if path.suffix not in (".yaml", ".yml"):
        raise Refused(f"{path}: a recipe is a .yaml file.")
    if not path.is_file():
        raise Refused(f"{path}: no such file.")
    from llamafactory.hparams import get_train_args, read_args

    import vistadpo_plugin.host  # noqa: F401  patches the host where the start-up hook is off
    from vistadpo_plugin.training.workflow import settle_arguments

    try:
        with _command_line(["train", str(path), *overrides]):
            keys = read_args()
    except (ValueError, TypeError, OSError, yaml.YAMLError, RecursionError) as error:
        raise Refused(f"{path} cannot be read: {_sentence(error)}") from None
    if not isinstance(keys, dict):
        raise Refused(f"{path}: a recipe is a mapping of keys, this is a {type(keys).__name__}.")
    try:
        here = {name: value for name, value in copy.deepcopy(keys).items() if name not in _OF_THE_DEVICE}
        model, data, training, finetuning, _ = get_train_args({**here, "use_cpu": True})
        zero = _deepspeed(keys["deepspeed"], training) if keys.get("deepspeed") else {}
    except (ValueError, TypeError, ImportError, OSError, KeyError, RecursionError) as error:
        raise Refused(f"LLaMA-Factory refuses {path}: {_sentence(error)}") from None
    finetuning.pure_bf16 = bool(keys.get("pure_bf16"))
    if getattr(finetuning, "use_vistadpo", False):
        try:
            settle_arguments(model, data, training, finetuning)
        except ValueError as error:
            raise Refused(f"{path} would not start: {_sentence(error)}") from None
    return Recipe(path, keys, model, data, training, finetuning, zero)


@contextmanager
def _command_line(words: list[str]) -> Iterator[None]:
    """The host reads its recipe from there."""
    before, sys.argv = sys.argv, words
    try:
        yield
    finally:
        sys.argv = before


def _deepspeed(config: Any, training: Any) -> dict[str, Any]:
    """DeepSpeed's configuration with its `auto` values filled in, held against the other keys."""
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    settled = HfTrainerDeepSpeedConfig(copy.deepcopy(config))
    settled.trainer_config_process(training)
    return dict(settled.config)


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__


def gpus_of(head: list[str]) -> tuple[int, float | None]:
    """(GPUs, GB each) that a recipe's head names as its hardware, or a run as its machine; else (1, None)."""
    for line in head:
        named = re.search(r"(?:hardware:\s+(?=\d+ GPUs?\b)|machine:\s+(?=\d+ x ))(\d+)(?:.*?(\d+) GB)?", line)
        if named:
            return int(named[1]), float(named[2]) if named[2] else None
    return 1, None
