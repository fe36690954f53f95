"""The host's other commands as a user types them: `llamafactory-cli export|chat|api RECIPE key=value ...`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def start(command: str, recipe: str, keys: dict[str, Any], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The command on a recipe that ships, with some of its keys changed; its standard error is `folder/stderr.txt`."""
    overrides = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in keys.items()]
    cli = Path(sys.executable).with_name("llamafactory-cli")
    inherited = {key: value for key, value in os.environ.items() if key != "VISTADPO_AUTOLOAD"}
    with (folder / "stderr.txt").open("w") as errors:
        return subprocess.Popen(
            [cli, command, RECIPES / f"{recipe}.yaml", *overrides],
            env={**inherited, "CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": "utf-8", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
