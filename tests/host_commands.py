"""The host's other commands as a user types them: `llamafactory-cli export|chat|api RECIPE key=value ...`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from launching import COMMAND, launch_environment

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def start(command: str, recipe: str, keys: dict[str, Any], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The command on a recipe that ships, with some of its keys changed; its standard error is `folder/stderr.txt`."""
    overrides = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in keys.items()]
    with (folder / "stderr.txt").open("w") as errors:
        return subprocess.Popen(
            [COMMAND, command, RECIPES / f"{recipe}.yaml", *overrides],
            env=launch_environment(**{"PYTHONIOENCODING": "utf-8", **environment}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
