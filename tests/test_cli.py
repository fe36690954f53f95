"""The real command, `llamafactory-cli train`: everything else runs inside one process and is faster."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from conftest import launch_cli


def run_cli(recipe: dict[str, Any], folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return launch_cli(path, *overrides)


def test_train_with_an_override(recipe: dict[str, Any], tmp_path: Path) -> None:
    assert "vista_clip_weight" not in recipe
    done = run_cli({**recipe, "max_steps": 1}, tmp_path, "vista_clip_weight=0.0")
    assert done.returncode == 0, done.stdout
    summary = done.stdout[done.stdout.index("VistaDPO train dataset: 16 rows") :]
    assert re.search(r"^ +clip +off$", summary, re.MULTILINE)
    assert re.search(r"^ +video +1 +16 ", summary, re.MULTILINE)

    state = json.loads((Path(recipe["output_dir"]) / "trainer_state.json").read_text())
    assert state["global_step"] == 1
    logged = {key for entry in state["log_history"] for key in entry}
    assert {"vista/video_margin", "vista/object_margin", "vista/token_margin", "vista/response_margin"} <= logged
    assert [key for key in logged if "clip" in key] == []
    assert (Path(recipe["output_dir"]) / "adapter_model.safetensors").is_file()


def test_unknown_key_stops_with_a_sentence(recipe: dict[str, Any], tmp_path: Path) -> None:
    done = run_cli({**recipe, "vista_vidoe_weight": 1.0}, tmp_path)
    assert done.returncode != 0
    assert "unknown key `vista_vidoe_weight`. Did you mean `vista_video_weight`?" in done.stdout
    assert not Path(recipe["output_dir"]).exists()
