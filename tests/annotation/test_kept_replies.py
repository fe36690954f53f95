"""A run of drafting that is killed or interrupted: nothing is asked twice but what was under way, nothing is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from annotation.drafting import COMMAND, annotate, words
from annotation.shapes_endpoint import Film, Oracle, make_films, serve_shapes

pytest.importorskip("openai")

PARALLEL, KILLS = 2, 3


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    return make_films(tmp_path_factory.mktemp("films") / "videos", 3)


def run(films: list[Film], output: Path, endpoint: Any) -> subprocess.Popen[str]:
    argv = words(films[0].path.parent, output, endpoint, "--yes", "--parallel", str(PARALLEL))
    return subprocess.Popen([*COMMAND, "annotate", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(endpoint: Any, count: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 100
    while len(endpoint.asked) < count and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)


def replies(output: Path) -> set[str]:
    path = output.with_suffix(".replies.jsonl")
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return {json.loads(line)["key"] for line in lines}


def test_killed_at_random_moments_it_writes_what_it_would_have_written(films: list[Film], tmp_path: Path) -> None:
    """Three SIGKILLs, each after a random number of requests and a random moment more, then left alone."""
    rng = random.Random(16)

    def slow(*_: Any) -> None:
        time.sleep(0.01)

    with serve_shapes(Oracle(films, slow)) as endpoint:
        whole = tmp_path / "whole" / "drafts.jsonl"
        assert annotate(films[0].path.parent, whole, endpoint, "--parallel", str(PARALLEL)) == 0
        alone = Counter(endpoint.asked)
        assert set(alone.values()) == {1}

        endpoint.asked.clear()
        output, kept = tmp_path / "killed" / "drafts.jsonl", [set()]
        for _ in range(KILLS):
            process = run(films, output, endpoint)
            wait_for(endpoint, len(endpoint.asked) + rng.randrange(1, 8), process)
            time.sleep(rng.random() * 0.01)
            assert process.poll() is None and not output.exists()
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept.append(replies(output))
            assert kept[-2] <= kept[-1]  # nothing is lost
        assert annotate(films[0].path.parent, output, endpoint, "--parallel", str(PARALLEL)) == 0
    asked = Counter(endpoint.asked)
    assert asked.keys() == alone.keys()
    assert 0 <= sum(asked.values()) - len(asked) <= PARALLEL * KILLS
    for suffix in (".jsonl", ".report.jsonl", ".card.md"):
        made = [path.with_suffix(suffix) for path in (whole, output)]
        there, again = (path.read_text().replace(str(path.parent), "") if path.exists() else None for path in made)
        assert there == again
    assert len(replies(output)) == len(alone)


def test_after_ctrl_c_the_same_command_goes_on(
    films: list[Film], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The requests under way are answered while it ends: nothing at all is asked twice."""
    hold, held = threading.Event(), threading.Event()
    hold.set()

    def wait(*_: Any) -> None:
        if not hold.is_set():
            held.set()
        hold.wait(20)

    output = tmp_path / "drafts.jsonl"
    with serve_shapes(Oracle(films, wait)) as endpoint:
        process = run(films, output, endpoint)
        wait_for(endpoint, 9, process)
        hold.clear()
        assert held.wait(20)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        hold.set()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "nothing was written but replies, the same command goes on." in said and "Traceback" not in said
        assert not output.exists() and len(replies(output)) == len(endpoint.asked) < 33
        assert annotate(films[0].path.parent, output, endpoint) == 0
    assert set(Counter(endpoint.asked).values()) == {1} and len(endpoint.asked) == 33
    assert "asked: 33 replies, 3,300 tokens in, 330 out" in capsys.readouterr().out
