"""One process for all jobs, one after the other: the host is imported once, and a job that kills it kills only it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_PATIENCE = 30  # seconds
_CONTEXT = multiprocessing.get_context("spawn")  # a fork could not use a GPU that its parent had looked at


class JobFailed(Exception):
    """A job that did not end well; `trace` is the whole of what Python says of it, empty where the process died."""

    def __init__(self, message: str, trace: str = ""):
        super().__init__(message)
        self.trace = trace


class Worker:
    """Starts its process with the first job, and another one after a job that failed: it may have left anything."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None

    def run(self, job: str, log: Path, **arguments: Any) -> Any:
        """Do `jobs.JOBS[job]` and return what it returns; all that it prints goes to the end of the file `log`.

        Raises JobFailed.
        """
        if self._process is None:
            self._start()
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._pipe.send((job, str(log), arguments))
            done, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            self._process = None
            killed = " Was there too little memory?" if code == -signal.SIGKILL else ""
            raise JobFailed(f"its process ended with code {code}.{killed} See {log}.") from None
        except BaseException:
            self._process.kill()  # it is in the middle of something
            raise
        if not done:
            self.close()
            raise JobFailed(*answer)
        return answer

    def close(self) -> None:
        """Let the process end, which it does when nobody gives it a job any more."""
        if self._process is not None:
            self._pipe.close()
            self._process.join(_PATIENCE)
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs,), daemon=False)
        self._process.start()
        theirs.close()


def _work(pipe: Connection) -> None:
    """The process: takes jobs until nobody gives any more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from vistadpo_plugin.ablation import jobs

    while True:
        try:
            name, log, arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        _print_into(Path(log))
        try:
            jobs.warm()
            answer = True, jobs.JOBS[name](**arguments)
        except KeyboardInterrupt:
            return
        except BaseException as error:  # also SystemExit: what the host refuses must not end the others
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}".strip()
            answer = False, (message, traceback.format_exc())
        jobs.clear()
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.send(answer)


def _end_with_parent() -> None:
    """Without its parent, however that ended, nobody wants what a job makes, and another parent may do the same job."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _print_into(log: Path) -> None:
    """Everything that this process and its libraries print, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
