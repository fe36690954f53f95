"""What tests of launchers share."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from conftest import _LAUNCH

COMMAND = Path(sys.executable).parent / "llamafactory-cli"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launch_environment(**changes: str) -> dict[str, str]:
    """The environment for a command of the host, without what would change how it starts."""
    inherited = {key: value for key, value in os.environ.items() if key not in _LAUNCH}
    path = f"{COMMAND.parent}{os.pathsep}{inherited['PATH']}"  # the host looks for torchrun there
    return {**inherited, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **changes}
