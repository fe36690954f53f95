"""Work on files that nobody vouches for, in processes that may hang or die without taking us along.

Video libraries are C code: a damaged file can send them into an endless loop or make them end the process. Each job
therefore runs in a worker process with a time limit; a worker that exceeds it or dies is replaced.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

# How often it is told that processes are waited for which are not ready for a first job. Starting costs imports, on a
# busy machine minutes; a job has all of its time once its process is ready.
_START_SECONDS = 60.0
_READY = "ready"
# What a process that has closed its end of the pipe may take to be gone, so that its exit code is its own.
_DYING_SECONDS = 5.0


@dataclass(frozen=True)
class Hung:
    """The job did not end within `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Died:
    """The job ended its process, with this exit code (-11: segmentation fault)."""

    exit_code: int | None


class Workers:
    """`count` processes that run `function(job)`; both are found by name there, so no lambdas. A context manager."""

    def __init__(self, function: Callable[[Any], Any], count: int):
        self._function = function
        self._count = count
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end(0.0)
        self._workers = []

    def run(self, jobs: Sequence[Any], seconds: Callable[[Any], float]) -> Iterator[tuple[int, Any]]:
        """(index of the job, what it returned or Hung or Died), as they end. `seconds` is what a job may take.

        A process that lives is waited for until it has started. Raises ChildProcessError when one ends before.
        """
        waiting = list(range(len(jobs)))[::-1]
        idle = list(self._workers)
        busy: dict[Connection, _Task] = {}
        while waiting or busy:
            while waiting and len(busy) < self._count:
                worker = idle.pop() if idle else self._start()
                index = waiting.pop()
                limit = seconds(jobs[index])
                try:
                    worker.connection.send(jobs[index])
                except OSError:  # it died while it had nothing to do
                    self._end(worker)
                    waiting.append(index)
                    continue
                patience = limit if worker.ready else _START_SECONDS
                busy[worker.connection] = _Task(worker, index, limit, time.monotonic() + patience)
            next_deadline = min(task.deadline for task in busy.values())
            for connection in wait(list(busy), max(0.0, next_deadline - time.monotonic())):
                task = busy[connection]  # type: ignore[index]
                try:
                    result = connection.recv()  # type: ignore[union-attr]
                except (EOFError, ConnectionError):
                    result = Died(self._end(task.worker, _DYING_SECONDS))
                else:
                    if result == _READY:
                        task.worker.ready = True
                        task.deadline = time.monotonic() + task.limit
                        continue
                    idle.append(task.worker)
                del busy[connection]  # type: ignore[arg-type]
                yield task.index, result
            now = time.monotonic()
            _wait_on([task for task in busy.values() if not task.worker.ready], now)
            for connection, task in list(busy.items()):
                if now >= task.deadline and not connection.poll():
                    del busy[connection]
                    self._end(task.worker)
                    yield task.index, Hung(task.limit)

    def _start(self) -> _Worker:
        worker = _Worker(self._function)
        self._workers.append(worker)
        return worker

    def _end(self, worker: _Worker, patience: float = 0.0) -> int | None:
        self._workers.remove(worker)
        exit_code = worker.end(patience)
        if not worker.ready:  # it never saw its job, and the next would fare no better
            raise ChildProcessError(
                f"a process to read files in ended before it had started (exit code {exit_code}). Its error is above; "
                "where there is none it was killed, mostly for want of memory."
            )
        return exit_code


@dataclass
class _Task:
    """A job that a worker is at: its index, its seconds, and when they are over.

    Before the worker is ready, `deadline` is when to tell that it is waited for.
    """

    worker: _Worker
    index: int
    limit: float
    deadline: float


def _wait_on(starting: list[_Task], now: float) -> None:
    """Tell of processes that have not started in time; none of their jobs is to blame."""
    if any(now >= task.deadline for task in starting):
        seconds = now - min(task.worker.born for task in starting)
        print(
            f"\nstill waiting for {len(starting)} process(es) to start, after {seconds:.0f} s: the machine is busy, or "
            "imports hang; Ctrl-C ends it.",
            file=sys.stderr,
        )
        for task in starting:
            task.deadline = now + _START_SECONDS


class _Worker:
    """One process and our end of the pipe to it."""

    def __init__(self, function: Callable[[Any], Any]):
        # Spawned, not forked: the parent may have threads, and a fork of those is what hangs.
        context = multiprocessing.get_context("spawn")
        self.ready = False
        self.born = time.monotonic()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def end(self, patience: float) -> int | None:
        """Kill it if it lives on for so many seconds; its exit code."""
        self.connection.close()
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(_DYING_SECONDS)
        return self.process.exitcode


def _serve(function: Callable[[Any], Any], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends us
    connection.send(_READY)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(function(job))
