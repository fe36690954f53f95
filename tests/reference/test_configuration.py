"""The reference cache knows a configuration from another, also where the weights are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, Run, keep_log


def changed(demo: Demo, folder: Path, **text: Any) -> str:
    """The tiny model, its language model configured otherwise."""
    shutil.copytree(demo.model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= text
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_another_rotary_base_is_another_reference(demo: Demo, train: Callable[..., Run], tmp_path: Path) -> None:
    keys = {"max_samples": 2, "max_steps": 1, "vista_reference_cache": str(tmp_path / "cache")}
    train(**keys)
    rope = {"rope_type": "default", "rope_theta": 500.0}
    with pytest.raises(ValueError, match="made for another reference.*configuration of the reference"):
        train(**keys, model_name_or_path=changed(demo, tmp_path / "rope", rope_parameters=rope))


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_same_model_elsewhere_is_the_same_reference(
    demo: Demo, train: Callable[..., Run], tmp_path: Path, tuning: str
) -> None:
    """In another folder, with dropout that is off anyway, without checkpointing, and tuned otherwise."""
    keys = {"max_samples": 2, "max_steps": 1, "vista_reference_cache": str(tmp_path / "cache")}
    train(**keys)
    other = {"finetuning_type": "full", "lora_target": None, "lora_rank": None} if tuning == "full" else {}
    with keep_log([]) as said:
        train(
            **keys, **other, model_name_or_path=changed(demo, tmp_path / "copy", attention_dropout=0.5),
            disable_gradient_checkpointing=True, output_dir=str(tmp_path / "again"),
        )  # fmt: skip
    assert any("2 of 2 rows known" in message for message in said)
