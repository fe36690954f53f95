"""Jobs that hang or kill their process: found out in time, reported, and no other job is lost."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.commands.main import main as vistadpo
from vistadpo_plugin.demo.shapes import build_videos
from vistadpo_plugin.validation import isolation
from vistadpo_plugin.validation.isolation import Died, Hung, Workers


def behave(job: tuple[str, float]) -> object:
    """Run in the worker: do what the job says."""
    what, value = job
    if what == "sleep":
        time.sleep(value)
    elif what == "exit":
        os._exit(int(value))
    elif what == "kill":
        os.kill(os.getpid(), int(value))
    elif what == "raise":
        raise RuntimeError(what)
    elif what == "pid":
        return os.getpid()
    return value * 2


def run(jobs: list[tuple[str, float]], count: int = 1, seconds: float = 20.0) -> dict[int, object]:
    with Workers(behave, count) as workers:
        return dict(workers.run(jobs, lambda job: seconds))


@pytest.mark.parametrize("count", [1, 2])
def test_every_job_gives_its_result(count: int) -> None:
    assert run([("double", number) for number in range(30)], count) == {number: number * 2 for number in range(30)}


def test_one_process_takes_many_jobs() -> None:
    pids = run([("pid", 0)] * 5)
    assert len(set(pids.values())) == 1 and os.getpid() not in pids.values()


def test_jobs_that_hang_or_die_cost_only_themselves() -> None:
    """The sleeper would take a minute; it is ended after its second, and each loss costs one start of a process."""
    started = time.monotonic()
    results = run([("double", 1), ("sleep", 60), ("double", 2), ("exit", 3), ("kill", signal.SIGKILL), ("double", 4)],
                  seconds=1.0)  # fmt: skip
    assert results == {0: 2, 1: Hung(1.0), 2: 4, 3: Died(3), 4: Died(-signal.SIGKILL), 5: 8}
    assert time.monotonic() - started < 30


def test_an_uncaught_error_is_a_death(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([("raise", 0), ("double", 1)]) == {0: Died(1), 1: 2}
    assert "RuntimeError: raise" in capfd.readouterr().err


@pytest.fixture
def vanished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """A function whose module a worker cannot import, since it is gone by then."""
    (tmp_path / "vanishing.py").write_text("def work(job):\n    return job\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    work = importlib.import_module("vanishing").work
    (tmp_path / "vanishing.py").unlink()
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    yield work
    del sys.modules["vanishing"]


def test_a_process_that_does_not_start_blames_no_job(
    vanished: Callable[[Any], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with Workers(vanished, 1) as workers, pytest.raises(ChildProcessError, match="before it had started"):
        list(workers.run([1, 2], lambda job: 20.0))
    assert "vanishing" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("validate {rows}", "vistadpo_plugin.validation.examine.inspect"),
        ("rows stats {rows}", "vistadpo_plugin.curation.stats.measure.inspect"),
        (
            "annotate {videos} -o {folder}/d.jsonl --model m",
            "vistadpo_plugin.annotation.drafting.footage._look_at",
        ),
    ],
)
def test_the_commands_say_it_in_a_sentence(
    command: str, function: str, vanished: Any, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = build_videos(tmp_path, 2, seed=0)
    monkeypatch.setattr(function, vanished)
    words = command.format(rows=rows, videos=tmp_path / "videos", folder=tmp_path)
    assert vistadpo(words.split()) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vistadpo")]
    assert ": a process to read files in ended before it had started (exit code 1)." in said


def test_a_process_that_starts_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its imports take a second, here in the place of many; its job then has its own time, which is as short."""
    (tmp_path / "slow_to_import.py").write_text(
        f"import os, time\nif os.getpid() != {os.getpid()}:\n    time.sleep(1.5)\ndef work(job):\n    return 2 * job\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(isolation, "_START_SECONDS", 0.6)
    work = importlib.import_module("slow_to_import").work
    with Workers(work, 1) as workers:
        assert list(workers.run([1, 2], lambda job: 1.0)) == [(0, 2), (1, 4)]
    said = re.findall(r"still waiting for 1 process\(es\) to start, after (\d) s", capsys.readouterr().err)
    assert len(said) >= 2 and said == sorted(said)


def test_a_worker_that_dies_while_idle_is_replaced() -> None:
    with Workers(behave, 1) as workers:
        results = workers.run([("double", 1), ("double", 2)], lambda job: 20.0)
        assert next(results) == (0, 2)
        (worker,) = workers._workers
        worker.process.kill()
        worker.process.join()
        assert list(results) == [(1, 4)]


def test_no_process_is_left_behind() -> None:
    with Workers(behave, 2) as workers:
        results = workers.run([("pid", 0), ("sleep", 60), ("pid", 0)], lambda job: 60)
        _, pid = next(results)
        processes = [worker.process for worker in workers._workers]
    assert pid in [process.pid for process in processes]
    assert not any(process.is_alive() for process in processes)
