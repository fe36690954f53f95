"""Output into a pipe whose reader may leave first, as `| head` does: what nobody reads any more is nobody's error."""

from __future__ import annotations

import io
import sys
from typing import Any


class _Outliving(io.FileIO):
    """A file whose writes go nowhere once its reader has gone; the work goes on, and keeps its exit status."""

    def write(self, content: Any) -> int | None:
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes


def outlive_readers() -> None:
    """From now on print and the interpreter's last flush raise no BrokenPipeError.

    Not by SIGPIPE, which would also end the command where an endpoint or a process of its own hangs up.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # closed, or somebody else's
            continue
        stream.flush()
        file = io.BufferedWriter(_Outliving(stream.fileno(), "w", closefd=False))
        how = {key: getattr(stream, key) for key in ("encoding", "errors", "line_buffering", "write_through")}
        setattr(sys, name, io.TextIOWrapper(file, **how))
