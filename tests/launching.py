"""What tests of launchers share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).parent / "llamafactory-cli"

# What changes how the host starts, and would make a test of the command line another test.
_LAUNCH = ("VISTADPO_AUTOLOAD", "FORCE_TORCHRUN", "NPROC_PER_NODE", "NNODES", "USE_RAY", "USE_MCA", "USE_V1")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launch_environment(**changes: str) -> dict[str, str]:
    """The environment for a command of the host, without what would change how it starts."""
    inherited = {key: value for key, value in os.environ.items() if key not in _LAUNCH}
    path = f"{COMMAND.parent}{os.pathsep}{inherited['PATH']}"  # the host looks for torchrun there
    return {**inherited, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **changes}


def torchrun(script: Path, processes: int, timeout: int = 300, **environment: str) -> None:
    """Run `script` on so many processes of this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    command += ["--master_addr", "127.0.0.1", "--master_port", free_port(), str(script)]
    done = subprocess.run(
        command, env=launch_environment(**environment), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
