"""An exception while a batch is made names the rows it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vistadpo_plugin.data.rows.schema import RowError


@contextmanager
def blaming(where: Iterable[str]) -> Iterator[None]:
    """Turn any exception meanwhile into a RowError of the rows `where`, but for one that names its row already.

    StopIteration above all: raised in a collator, a data loader hands it on, and everybody who reads from one takes it
    for the end of the data.
    """
    try:
        yield
    except RowError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RowError(", ".join(dict.fromkeys(where)), f"no batch could be made of it ({reason}).") from error
