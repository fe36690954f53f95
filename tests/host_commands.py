"""The host's other commands as a user types them: `llamafactory-cli export|chat|api RECIPE key=value ...`."""

from __future__ import annotations

import subprocess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from launching import COMMAND, fork, launch_environment

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def words(command: str, recipe: str, keys: dict[str, Any]) -> list[str]:
    overrides = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in keys.items()]
    return [command, str(RECIPES / f"{recipe}.yaml"), *overrides]


def start_fork(command: str, recipe: str, keys: dict[str, Any], folder: Path, **environment: str) -> BaseProcess:
    """As `start`, without input and without the seconds in which the host is imported; it says all in `stderr.txt`."""
    return fork(COMMAND, *words(command, recipe, keys), log=folder / "stderr.txt", **environment)


def start(command: str, recipe: str, keys: dict[str, Any], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The command on a recipe that ships, with some of its keys changed; its standard error is `folder/stderr.txt`."""
    with (folder / "stderr.txt").open("w") as errors:
        return subprocess.Popen(
            [COMMAND, *words(command, recipe, keys)],
            env=launch_environment(**{"PYTHONIOENCODING": "utf-8", **environment}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
