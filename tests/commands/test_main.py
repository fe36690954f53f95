"""`vistadpo` itself: its version, and a reader that leaves before the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vistadpo_plugin
from vistadpo_plugin.commands.main import SUBCOMMANDS, main

COMMAND = [sys.executable, "-c", "import sys; from vistadpo_plugin.commands.main import main; sys.exit(main())"]


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"vistadpo-plugin {vistadpo_plugin.__version__}\n"
    assert vistadpo_plugin.__version__ == version("vistadpo-plugin")


@pytest.mark.parametrize(
    "words",
    [["recipes"], ["--help"], ["nothing"], ["validate", "ROWS", "--all"], ["convert", "-h"], ["evaluate", "-h"]],
)
def test_nobody_reads_to_the_end(words: list[str], tmp_path: Path) -> None:
    """The reader is gone before the first line: the same status as with one, and not a word of it."""
    row = {"video": "a.mp4", "prompt": "?", "chosen": "", "rejected": "x"}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for _ in range(2000)))
    argv = [*COMMAND, *(str(tmp_path / "rows.jsonl") if word == "ROWS" else word for word in words)]
    read = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    reader, writer = os.pipe()
    os.close(reader)
    left = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=100)
    os.close(writer)
    assert read.stdout and (left.returncode, left.stderr) == (read.returncode, read.stderr)


@pytest.mark.parametrize("name", ["recipes", "validate"])
def test_a_module_by_itself_is_left_the_same_way(name: str) -> None:
    words = f"set -o pipefail; {sys.executable} -m vistadpo_plugin.commands.{name} -h | true"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_may_go_unread_too() -> None:
    """`2>&1 | head`: the status stays."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "recipes", "copy", "nothing"], stdout=writer, stderr=writer, timeout=100)
    os.close(writer)
    assert done.returncode == 2


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "vistadpo --version" in printed and all(f"\n  {name} " in printed for name in SUBCOMMANDS)
