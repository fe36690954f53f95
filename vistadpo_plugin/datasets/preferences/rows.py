"""From pairs to rows: videos found, rows held against them, splits drawn by video."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.data.video.video import natural_order
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.preferences.media import MediaFolder
from vistadpo_plugin.datasets.preferences.pair import Pair, Video
from vistadpo_plugin.datasets.questions import split_videos
from vistadpo_plugin.datasets.source import Coverage
from vistadpo_plugin.datasets.videos import path_for

MISSING = "its video is not in the folder"
MISSING_REJECTED = "its rejected video is not in the folder"
NOT_YET = "a row whose video is not in the folder yet"
REFUSED = {"unreadable-file": "a video that cannot be read", "bad-placeholder": "a text with a media placeholder"}


@dataclass(frozen=True)
class PairRow:
    """A row about to be written; `layout` is that of its file."""

    fields: dict[str, Any]
    layout: str

    @property
    def video(self) -> str:
        value = self.fields["video"]
        return value if isinstance(value, str) else value[0]


def make_rows(
    pairs: dict[str, tuple[str, Pair]], media: MediaFolder, folder: Path, allow_missing: bool, account: Account
) -> list[PairRow]:
    """A row for every pair, by its place (layout, pair), that our reader takes; the others are left out.

    `folder` is where the data file will lie. Rows of videos that are there are held against them.
    """
    rows = []
    for where, (layout, pair) in tqdm(pairs.items(), desc="checking rows", unit="row", disable=None):
        gone = [video for video in _videos(pair) if not _found(video, media)]
        if gone and not allow_missing:
            reason = MISSING if gone[0] == pair.video else MISSING_REJECTED
            account.leave_out(f"{reason} (of {pair.source})", where, f"{_name(gone[0])} not found")
            continue
        made = {
            "id": where,
            "video": _path(pair.video, media, folder),
            "prompt": pair.prompt,
            "chosen": pair.chosen,
            "rejected": pair.rejected,
        }
        if pair.rejected_video is not None:
            made["rejected_video"] = _path(pair.rejected_video, media, folder)
        if pair.phrases:
            made["phrases"] = pair.phrases
        try:
            row = parse_row(made, where)
            notes = row.notes if gone else ground(row, str(folder), images_fps=1.0).notes
        except RowError as error:
            account.leave_out(REFUSED.get(error.kind, "a row that our reader refuses"), where, error.message)
            continue
        if gone:
            account.note(NOT_YET, where)
        for note in sorted({*pair.notes, *notes}):
            account.note(note, where)
        rows.append(PairRow(made, layout))
    return rows


def cover(pairs: dict[str, tuple[str, Pair]], media: MediaFolder) -> list[Coverage]:
    """Which of the videos that pairs name are there, by where they come from."""
    asked: dict[str, Counter[str]] = {}
    gone: set[str] = set()
    for _, pair in pairs.values():
        for video in _videos(pair):
            asked.setdefault(pair.source or "", Counter())[_name(video)] += 1
            if not _found(video, media):
                gone.add(_name(video))
    return [
        Coverage(source, "pair", len(names), {video: names[video] for video in natural_order(names) if video in gone})
        for source, names in sorted(asked.items())
    ]


def _videos(pair: Pair) -> tuple[Video, ...]:
    return (pair.video,) if pair.rejected_video is None else (pair.video, pair.rejected_video)


def _found(video: Video, media: MediaFolder) -> bool:
    return all(media.find(name) for name in _names(video)) if isinstance(video, tuple) else bool(media.find(video))


def _path(video: Video, media: MediaFolder, folder: Path) -> str | list[str]:
    paths = [path_for(media.expected(name), folder) for name in _names(video)]
    return paths[0] if isinstance(video, str) else paths


def _names(video: Video) -> tuple[str, ...]:
    return (video,) if isinstance(video, str) else video


def _name(video: Video) -> str:
    return video if isinstance(video, str) else f"{video[0]} ..."


def split_rows(rows: list[PairRow], share: float, seed: int) -> dict[str, list[PairRow]]:
    """Training and validation rows, by video. Raises ValueError when a share cannot be held out."""
    held_out = split_videos([row.video for row in rows], share, seed)
    splits = {
        "train": [row for row in rows if row.video not in held_out],
        "validation": [row for row in rows if row.video in held_out],
    }
    return {split: members for split, members in splits.items() if members or split == "train"}


def count_layouts(rows: list[PairRow]) -> list[tuple[str, int]]:
    """(layout, rows), the most frequent first."""
    return sorted(Counter(row.layout for row in rows).items(), key=lambda item: (-item[1], item[0]))
