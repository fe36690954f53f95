"""The files of a checkpoint, which anybody may have made: a damaged one is an error that names it, and none is run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SHOWN = 160  # letters of what a library says


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Raise ValueError, naming `path`, where it cannot be read as `what`.

    Libraries raise all kinds of exceptions on damaged files, bare ones of Python's among them: every one is taken here,
    so nothing but the library's own call belongs inside.
    """
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; it is one of the checkpoint's files.") from None
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} cannot be read as {what}: it is damaged, or something else is pickled in it, and that is not run."
        ) from None
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0][:_SHOWN].rstrip(".")
        raise ValueError(
            f"{path} cannot be read as {what} ({type(error).__name__}: {said}). It is damaged or something else; "
            "fetch it again."
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError, naming the file, for anything else."""
    with reading(path, "JSON"):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: names and values are expected, it holds a {type(content).__name__}.")
    return content


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint's folder; code that lies there is not run. Raises ValueError."""
    from transformers import AutoTokenizer

    with reading(folder, "a tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
