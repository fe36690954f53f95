"""Rows of data files with their text kept, so that what no verb touches is written as it was read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows import strict_json
from vistadpo_plugin.data.rows.grounding import GroundedRow, find_video
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.recordings import recordings
from vistadpo_plugin.data.rows.schema import Row, parse_row
from vistadpo_plugin.data.rows.values import RowError, Video
from vistadpo_plugin.data.video.video import VIDEO_SUFFIXES, VideoError
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.layouts.fields import PATH_FIELDS, TO_NATIVE
from vistadpo_plugin.layouts.paths import Rebase
from vistadpo_plugin.validation.source import Source

STOP, SKIP = "stop", "skip"
_NAMED = 3
_PATHS = (*PATH_FIELDS, *(released for released, native in TO_NATIVE.items() if native in PATH_FIELDS))


@dataclass(frozen=True)
class Entry:
    """A row as its file has it: `text`, its decoded `fields`, and what they mean. `row.where` has the file's path.

    The row's paths start at `media_dir`.
    """

    text: str
    fields: dict[str, Any]
    row: Row
    media_dir: Path

    @property
    def where(self) -> str:
        return self.row.where

    def rebased(self, folder: Path) -> dict[str, Any]:
        """The fields, with paths that hold from `folder`."""
        rebase = Rebase(self.media_dir, folder)
        return {name: rebase(value) if name in _PATHS else value for name, value in self.fields.items()}

    def located(self) -> dict[str, Any]:
        """The fields, with paths as the one place each leads to."""

        def place(value: Any) -> Any:
            if isinstance(value, list):
                return [place(item) for item in value]
            return os.path.realpath(os.path.join(os.sep, value)) if isinstance(value, str) else value

        fields = self.rebased(Path(os.sep))
        return {name: place(value) if name in _PATHS else value for name, value in fields.items()}

    def line(self, folder: Path) -> str:
        """The row as one line of a data file in `folder`: its very text, unless a path changes or it has several."""
        fields = self.rebased(folder)
        if fields == self.fields and "\n" not in self.text.strip():
            return self.text.strip()
        return json.dumps(fields, ensure_ascii=False)


def read_entries(source: Source, media_dir: Path | None, on_bad_row: str, account: Account) -> list[Entry]:
    """All rows of the source's files. `media_dir`: where their paths start, if not at the source's own folder.

    A row that our reader refuses is left out in `account` where `on_bad_row` is "skip". Raises ValueError when it is
    "stop" and there is one, and for a file that cannot be read or has no rows.
    """
    entries, refused = [], []
    for file in source.files:
        for place, text in read_rows(file):
            account.read += 1
            try:
                row = parse_row(text, os.path.join(os.path.dirname(file), place))
            except RowError as error:
                refused.append(error)
                continue
            entries.append(Entry(text, strict_json.loads(text), row, media_dir or Path(source.media_dir)))
    if refused and on_bad_row == STOP:
        more = f"\n  ... and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise ValueError(
            f"{plural(len(refused), 'row')} of {source.name} cannot be read:"
            + "".join(f"\n  {error}" for error in refused[:_NAMED])
            + f"{more}\nNothing was written. Correct them (`vistadpo validate` lists all), or leave them out with "
            "--on-bad-row skip."
        )
    for error in refused:
        account.leave_out(error.kind or "unusable", error.where, error.message)
    if not entries:
        raise ValueError(f"{source.name}: no rows that can be read; one JSON object a line is expected.")
    return entries


@dataclass(frozen=True)
class Recordings:
    """For every entry the name of the recording it is about, and the videos that are not there."""

    names: list[str]
    absent: list[str]

    def warning(self) -> str | None:
        """What to say where videos are not there: those are told apart by their names alone."""
        if not self.absent:
            return None
        return (
            f"note: {plural(len(self.absent), 'video')} not found, as {self.absent[0]}; copies under other names are "
            "not known among them. --media-dir is the folder that the rows' paths start from."
        )


def find_recordings(entries: Sequence[Entry], by_group: bool = True, with_rejected: bool = False) -> Recordings:
    """Which entries are about one recording: one file or files of the same content; `by_group`: or of one `group`.

    `with_rejected`: a row's rejected videos and clips count with its own, so that rows that share any are together.
    """
    grounded, rejected, absent = [], [], []

    def add(rows: list[GroundedRow], entry: Entry, video: Video, group: str | None) -> None:
        found, is_there = _locate(entry, video)
        rows.append(GroundedRow(entry.row.id, entry.where, found, group=group))
        if not is_there:
            absent.append(video if isinstance(video, str) else video[0])

    for index, entry in enumerate(entries):
        add(grounded, entry, entry.row.video, entry.row.group if by_group else None)
        others = (*entry.row.rejected_videos, *entry.row.rejected_clips) if with_rejected else ()
        for video in (entry.row.video, *others) if others else ():
            add(rejected, entry, video, f"\0row {index}")  # a group that no row can name
    names = recordings([*grounded, *rejected])[: len(grounded)]
    return Recordings(names, list(dict.fromkeys(absent)))


def _locate(entry: Entry, video: Video) -> tuple[Video, bool]:
    """The one place of a video, and whether it is there. Where not, `a`, `./a` and `a.mp4` may be one, and count so."""
    try:
        found = find_video(video, str(entry.media_dir), entry.where)
    except (RowError, VideoError):
        if isinstance(video, tuple):
            return tuple(os.path.realpath(entry.media_dir / path) for path in video), False
        path = os.path.realpath(entry.media_dir / video)
        stem, suffix = os.path.splitext(path)
        return (stem if suffix.lower() in VIDEO_SUFFIXES else path), False
    return (os.path.realpath(found) if isinstance(found, str) else tuple(map(os.path.realpath, found))), True
