"""Benchmarks whose parts run in the tests' own process."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from transformers.models.llama.modeling_llama import LlamaModel
from transformers.models.video_llava.modeling_video_llava import VideoLlavaModel

from vistadpo_plugin.bench.presets import PRESETS, Preset

TINY = Preset(
    about="a test",
    hidden=64,
    layers=2,
    heads=4,
    ffn=128,
    vocabulary=1024,
    image=28,
    patch=14,
    tower_hidden=32,
    tower_layers=2,
    tower_heads=2,
    answer_tokens=6,
    batch=2,
    lora_rank=4,
    steps=1,
    rounds=1,
)

PARTS = ("vistadpo_plugin.bench.worker", "vistadpo_plugin.bench.feed")


@contextmanager
def workers_here(endless: str | None = None) -> Iterator[None]:
    """The parts' own programs in this process, which knows the preset `tiny`; `endless` names a run that only a time
    limit ends."""
    run = subprocess.run

    def run_here(command: list[str], timeout: float | None = None, **kwargs: Any) -> Any:
        if command[1] != "-m" or command[2] not in PARTS:
            return run(command, timeout=timeout, **kwargs)
        if timeout is not None and json.loads(Path(command[3]).read_text()).get("run") == endless:
            raise subprocess.TimeoutExpired(command, timeout)
        with pytest.MonkeyPatch.context() as patch:
            # The worker counts by replacing these for the rest of its life.
            patch.setattr(VideoLlavaModel, "get_video_features", VideoLlavaModel.get_video_features)
            patch.setattr(LlamaModel, "forward", LlamaModel.forward)
            patch.setattr(sys, "argv", command[2:])
            sys.modules.pop(command[2], None)
            runpy.run_module(command[2], run_name="__main__")
        return subprocess.CompletedProcess(command, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        patch.setattr(subprocess, "run", run_here)
        yield
