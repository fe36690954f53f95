"""No room left: on a small tmpfs where one can be mounted, and by a limit on the size of files."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Demo, Run, tiny_recipe
from faults.children import counting, start
from faults.test_kills import STEPS, is_same, recipe


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which `resize` makes larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here (not root?)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


def clear(disk: Path) -> None:
    subprocess.run(f"rm -rf {disk}/*", shell=True, check=True)


def test_the_reference_cache_on_a_full_disk(demo: Demo, disk: Path, tmp_path: Path, capsys: Any) -> None:
    """The run stops with the path and the reason; with room, the next computes the rest and trains."""
    rng = random.Random(0)
    cache = disk / "cache"
    args = {**tiny_recipe(demo, tmp_path / "out"), "vista_reference_cache": str(cache), "max_steps": 1}
    resize(disk, 1 << 20)
    child = start(args, tmp_path / "log")
    assert child.wait() == 0, child.said[-3000:]
    expected = Run(tmp_path / "out").series("loss")
    sentence = rf"ValueError: `vista_reference_cache: {cache}`: {cache}/\S+ cannot be written: No space left on device"
    whole = int(subprocess.run(["du", "-sk", cache], capture_output=True, text=True, check=True).stdout.split()[0])
    with counting("full disks under the reference cache", capsys) as count:
        for _ in range(5):
            clear(disk)
            resize(disk, rng.randrange(8, whole - 8))
            child = start(args, tmp_path / "log")
            stopped = child.wait() == 1 and re.search(sentence, child.said) is not None
            resize(disk, 1 << 20)
            child = start(args, tmp_path / "log")
            ended = child.wait() == 0 and "damaged files" not in child.said
            count.add(
                bool(stopped) and ended and Run(tmp_path / "out").series("loss") == pytest.approx(expected, abs=1e-5)
            )


def test_saves_on_a_full_disk(demo: Demo, disk: Path, tmp_path: Path, capsys: Any) -> None:
    """The run stops; with room, the same command goes on and ends as if nothing had been."""
    rng = random.Random(1)
    args = recipe(demo, disk / "out")
    resize(disk, 1 << 20)
    child = start(recipe(demo, tmp_path / "expected"), tmp_path / "log")
    assert child.wait() == 0, child.said[-3000:]
    expected = Run(tmp_path / "expected")
    one = sum(path.stat().st_size for path in (expected.folder / f"checkpoint-{STEPS}").rglob("*")) // 1024
    with counting("full disks under checkpoints", capsys) as count:
        for _ in range(5):
            clear(disk)
            resize(disk, rng.randrange(one // 4, 2 * one))
            child = start(args, tmp_path / "log")
            stopped = child.wait() == 1
            resize(disk, 1 << 20)
            child = start(args, tmp_path / "log")
            count.add(stopped and child.wait() == 0 and is_same(Run(disk / "out"), expected))
