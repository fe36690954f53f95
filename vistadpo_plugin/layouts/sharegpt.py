"""Rows in the host's plain preference format (sharegpt, ranking): text, two answers and a video, no grounding.

A `stage: dpo` baseline then reads the very rows that `stage: vistadpo` trains on, without our converter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.grounding import find_video
from vistadpo_plugin.data.rows.schema import Row, RowError, parse_row
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.layouts.fields import TO_NATIVE
from vistadpo_plugin.layouts.paths import Rebase

ENTRY: dict[str, Any] = {
    "formatting": "sharegpt",
    "ranking": True,
    "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "videos": "videos"},
}
"""What dataset_info.json says about such a file, beside its name."""

MORE_REJECTED = "several rejected answers: the format has a place for the first"

# What the format has a place for. It has none for anything else of a row.
HELD = ("id", "video", "prompt", "chosen", "rejected")


def convert_to_sharegpt(
    sources: list[tuple[str, dict[str, Any]]], folder: Path, media_dir: Path, account: Account
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of video files, rows of folders or lists of frames); the host cannot mix the two in one file.

    A row whose video is not there, or that our reader refuses, is left out in `account`; dropped fields are noted.
    """
    rebase = Rebase(media_dir, folder)
    files, frames = [], []
    for where, source in sources:
        try:
            row = parse_row(source, where)
            video = find_video(row.video, str(media_dir), row.where)
        except RowError as error:
            account.leave_out(error.kind or "unusable", error.where, error.message)
            continue
        for name, value in source.items():
            if TO_NATIVE.get(name, name) not in HELD and value not in (None, []):
                account.note(f"`{TO_NATIVE.get(name, name)}` has no place in the format", row.where)
        if row.more_rejected:
            account.note(MORE_REJECTED, row.where)
        one_file = isinstance(video, str)
        located = _below(video, media_dir, rebase) if one_file else [_below(item, media_dir, rebase) for item in video]
        (files if one_file else frames).append(_row(row, located))
    return files, frames


def _row(row: Row, video: str | list[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "conversations": [{"from": "human", "value": row.prompt}],
        "chosen": {"from": "gpt", "value": row.chosen},
        "rejected": {"from": "gpt", "value": row.rejected},
        "videos": [video],
    }


def _below(found: str, media_dir: Path, rebase: Rebase) -> str:
    """A path that `find_video` gave, as the new file names it."""
    prefix = str(media_dir).rstrip("/") + "/"
    return rebase(found.removeprefix(prefix))
