"""Reading a file of rows without asking Arrow for one type a field throughout the file.

The host reads data files through Arrow, which fails on `[1, 2]` in one row and `[[1, 2], [3, 4]]` in the next before
any converter sees a row. Rows therefore travel as text, next to the place they came from, and are parsed one by one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vistadpo_plugin.data.rows.strict_json import split_list

if TYPE_CHECKING:
    from datasets import Dataset

WHERE, TEXT = "_vista_where", "_vista_text"


def load_rows(path: str, data_files: list[str] | None = None, **kwargs: Any) -> Dataset:
    """Stand-in for `datasets.load_dataset` on JSON and JSON-lines files: columns `WHERE` and `TEXT`, one row each.

    Other file types (parquet, csv) have typed columns by nature and go the usual way.
    """
    # Costs seconds, and the commands that only read rows do without it.
    from datasets import Dataset, load_dataset

    if path != "json" or not data_files:
        return load_dataset(path=path, data_files=data_files, **kwargs)
    where: list[str] = []
    text: list[str] = []
    for file in sorted(data_files):
        for place, row in read_rows(file):
            where.append(place)
            text.append(row)
    if not text:
        raise ValueError(f"{', '.join(data_files)}: no rows; one JSON object a line is expected.")
    return Dataset.from_dict({WHERE: where, TEXT: text})


def read_rows(file: str) -> list[tuple[str, str]]:
    """(place, JSON text) of every row of a JSON-lines file or of a JSON file that holds a list.

    Raises OSError, or ValueError for a file that is not UTF-8 text or a list that is not valid JSON.
    """
    try:
        with open(file, encoding="utf-8-sig") as stream:
            content = stream.read()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{file}, line {line}: not UTF-8 text ({error.reason}); save the file as UTF-8.") from None
    name = os.path.basename(file)
    if content.lstrip().startswith("["):
        try:
            rows = split_list(content)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is not valid JSON: {error}.") from None
        return [(f"{name}[{index}]", row) for index, row in enumerate(rows)]
    lines = content.split("\n")
    return [(f"{name}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
