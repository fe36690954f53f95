"""Runs that are killed: children of a process that has imported the host already, so that one takes seconds."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import run_recipe
from transformers import AutoModelForImageTextToText

for _name in (
    "llamafactory.train.tuner",
    "vistadpo_plugin.training.workflow",
    "torch._inductor.compile_fx",
    "torchdata.stateful_dataloader",
    "bitsandbytes",
    "peft.tuners.lora.bnb",
):
    with contextlib.suppress(ImportError):  # what a first run would import, if it is here: most of its time
        importlib.import_module(_name)
AutoModelForImageTextToText._model_mapping.keys()  # imports every family's configuration

TIME_LIMIT = 120.0
"""Seconds after which a run counts as hanging; the longest takes about ten."""


@dataclass
class Child:
    """A run in a process of its own; what it prints goes to the file `log`."""

    pid: int
    log: Path
    started: float

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it. One that hangs is killed, and raises TimeoutError."""
        while time.monotonic() - self.started < TIME_LIMIT:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        self.kill()
        raise TimeoutError(f"a run hangs:\n{self.said[-3000:]}")

    def kill(self) -> int:
        """As by a power cut or the kernel: nothing in the process gets to know."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def is_running(self) -> bool:
        """Whether it has not ended; leaves its exit code for `wait`."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def start(args: dict[str, Any], log: Path) -> Child:
    """Train by a recipe in a child."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log, time.monotonic())
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        for handler in logging.getLogger("llamafactory").handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(sys.stdout)  # it holds on to pytest's
        run_recipe(args)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not pytest's own end


def until(condition: Callable[[], bool], child: Child) -> bool:
    """Wait for something that a run does, looking 5,000 times a second; False when it ended before."""
    while not condition():
        if not child.is_running():
            return condition()
        time.sleep(0.0002)
    return True


@dataclass
class Count:
    """How many faults were tried, and how many of the promises held."""

    tried: int = 0
    held: int = 0

    def add(self, held: bool) -> None:
        self.tried += 1
        self.held += held


@contextmanager
def counting(what: str, capsys: Any) -> Iterator[Count]:
    """Says at the end how many were tried and held, and fails where that differs."""
    count = Count()
    try:
        yield count
    finally:
        with capsys.disabled():
            print(f"\n{what}: {count.tried} tried, {count.held} held")
    assert count.tried and count.held == count.tried
