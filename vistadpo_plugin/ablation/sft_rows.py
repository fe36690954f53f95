"""The control that has no rejected answer: grounded rows as the host's `stage: sft` reads them, y_w alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.dataset_info import write_info, write_rows
from vistadpo_plugin.data.rows.grounding import find_video
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.validation.source import find_source

_COLUMNS = {"messages": "conversations", "videos": "videos"}


def write_sft_rows(names: list[str], dataset_dir: str, media_dir: str | None, folder: Path) -> None:
    """Write the rows of the data sets `names` into `folder`, with a dataset_info.json of the same names.

    Raises ValueError (RowError for a row), also where video files and frames are mixed, which the host cannot read.
    """
    entries = {}
    for name in names:
        source = find_source(name, dataset_dir)
        media = source.media_dir if media_dir is None else media_dir
        rows = [_row(text, where, media) for file in source.files for where, text in read_rows(file)]
        if len({isinstance(row["videos"][0], str) for row in rows}) > 1:
            raise ValueError(
                f"the data set {name!r} has video files in some rows and frames in others, which the host's "
                "`stage: sft` cannot read from one file: make it two data sets, or leave the rung `sft` out of `rungs`."
            )
        entries[name] = {"file_name": f"{name}.jsonl", "formatting": "sharegpt", "columns": _COLUMNS}
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / f"{name}.jsonl", rows)
    write_info(folder, entries)


def _row(text: str, where: str, media_dir: str) -> dict[str, Any]:
    row = parse_row(text, where)
    video = find_video(row.video, media_dir, row.where)
    files = [video] if isinstance(video, str) else video
    paths = [str(Path(file).resolve()) for file in files]
    turns = [{"from": "human", "value": row.prompt}, {"from": "gpt", "value": row.chosen}]
    return {"conversations": turns, "videos": paths if isinstance(video, str) else [paths]}
