"""`vistadpo build` of every source, killed as it writes: whole files at any time, and the same command ends as ever."""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from commands.test_build_sources import WRITERS
from pairs_made import FILES, write_pairs

from vistadpo_plugin.commands.build import main


def _annotations(kind: str, folder: Path) -> list[str]:
    """The command's first words and its ten entries."""
    if kind == "preferences":
        return ["preferences", "--annotations", *(str(write_pairs(folder, layout)) for layout in FILES)]
    source, write, content = WRITERS[kind]
    return [source, "--annotations", str(write(folder, content))]


def killed(arguments: list[str], folder: Path, operation: int | None = None, size: int | None = None) -> bool:
    """Whether a child that builds with `arguments` was killed: as it begins its file operation of that number in
    `folder`, or as a file that it writes grows beyond `size` bytes, with the file left at that size.
    """
    child = os.fork()
    if child == 0:
        begun = 0

        def watch(event: str, given: tuple[Any, ...]) -> None:
            nonlocal begun
            writes = (event == "open" and given[1] not in (None, "r", "rb")) or event in ("os.rename", "os.remove")
            if writes and str(given[0]).startswith(str(folder)):
                begun += 1
                if begun == operation:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        if size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        os._exit(main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (-signal.SIGKILL, -signal.SIGXFSZ)


@pytest.mark.parametrize("kind", [*WRITERS, "preferences"])
def test_a_build_killed_at_any_moment_leaves_whole_files(kind: str, tmp_path: Path) -> None:
    """Over an earlier result: every file is the earlier one or the new one, and the same command then ends as ever."""
    (tmp_path / "videos").mkdir()
    out = tmp_path / "out"
    given = [*_annotations(kind, tmp_path), "--videos", str(tmp_path / "videos"), "-o", str(out / "rows.jsonl")]
    given += ["--allow-missing-videos", "--val-share", "0.4", "--overwrite", "--seed"]

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".part"}

    assert main([*given, "1"]) == 0
    new = contents()

    def is_killed(**moment: int) -> bool:
        assert main([*given, "0"]) == 0
        old = contents()
        if not killed([*given, "1"], out, **moment):
            return False
        after = contents()
        assert all(after[name] in (old.get(name), new.get(name)) for name in after), moment
        assert main([*given, "1"]) == 0
        assert contents() == new and not list(out.glob("*.part"))
        return True

    largest = max(map(len, new.values()))
    draw = random.Random(0)
    assert all(is_killed(size=draw.randrange(largest)) for _ in range(4))
    # Rows, validation rows, card, missing videos and dataset_info.json are each opened, and moved into place.
    operations = sum(1 for _ in itertools.takewhile(lambda number: is_killed(operation=number), itertools.count(1)))
    assert operations >= 2 * len(new) >= 10
