"""What tests of launchers share."""

from __future__ import annotations

import functools
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import time
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

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


@functools.cache
def fork_server() -> Any:
    """A context whose processes are forks of one interpreter that has imported the host and computed nothing.

    It starts with the environment of a launched command and with the start-up hook, like any interpreter.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["llamafactory.train.tuner", "vistadpo_plugin.training.workflow"])
    mine, launched = dict(os.environ), launch_environment()
    os.environ.clear()
    os.environ.update(launched)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(mine)
    return context


def _run(script: str, environment: dict[str, str], log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


def fork(script: Path, log: Path, **environment: str) -> BaseProcess:
    """`python script` in a fork that need not import the host any more; what it says is in the file `log`."""
    told = launch_environment(**environment)
    process = fork_server().Process(target=_run, args=(str(script), told, str(log)))
    process.start()
    return process


def forked_ranks(script: Path, processes: int, timeout: int = 300, **environment: str) -> None:
    """As `torchrun`, without what every rank's start costs: the ranks are forks, told who they are as torchrun tells
    its workers; the agent, which keeps the store, is this process. That torchrun itself reaches its workers is for
    test_nodes.py and test_zero2.py to show."""
    import torch.distributed as dist

    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    world = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "0", "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip
    logs = [script.with_name(f"{script.stem}-{rank}.log") for rank in range(processes)]
    ranks: list[BaseProcess] = []
    end = time.monotonic() + timeout
    try:
        for rank, log in enumerate(logs):
            who = {"RANK": str(rank), "LOCAL_RANK": str(rank), "ROLE_RANK": str(rank)}
            ranks.append(fork(script, log, **world, **who, **environment))
        while any(process.is_alive() for process in ranks) and not any(process.exitcode for process in ranks):
            assert time.monotonic() < end, f"{script} takes more than {timeout} s"
            connection.wait([process.sentinel for process in ranks if process.is_alive()], timeout=1)
    finally:  # where one has failed the others would wait for it
        codes = [process.exitcode for process in ranks]
        for process in ranks:
            process.kill()
            process.join()
    said = "".join(f"--- rank {rank}\n{log.read_text()[-6000:]}" for rank, log in enumerate(logs))
    assert codes == [0] * processes, said
