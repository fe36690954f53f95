"""Files of pairs, each in one layout: told by its fields, or said by the user."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows import strict_json
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.preferences.layouts import LAYOUTS, Layout, layout_of
from vistadpo_plugin.datasets.preferences.pair import Pair, Unusable

NOT_JSON = "not one JSON object"
SAME_ANSWERS = "the two answers are the same"
_SHOWN_FIELDS = 12


@dataclass(frozen=True)
class PairFile:
    """A file's entries by their place (`pairs.jsonl:12`); None is what is no JSON object."""

    path: Path
    layout: Layout
    entries: list[tuple[str, dict[str, Any] | None]]


def open_file(path: Path, said: str | None) -> PairFile:
    """The file with its layout: `said`, or the one that its entries' fields tell.

    Raises ValueError for a file that cannot be read, and for one of no layout or of several.
    """
    if path.suffix.lower() not in (".json", ".jsonl"):
        raise ValueError(f"{path}: pairs are read from .jsonl or .json; write the file as one of these.")
    entries = [(where, _entry(text)) for where, text in read_rows(str(path))]
    if not entries:
        raise ValueError(f"{path}: no pairs; one JSON object a line, or a JSON list of them, is expected.")
    return PairFile(path, LAYOUTS[said] if said else _tell(path, entries), entries)


def _entry(text: str) -> dict[str, Any] | None:
    try:
        found = strict_json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _tell(path: Path, entries: list[tuple[str, dict[str, Any] | None]]) -> Layout:
    told = Counter(layout.name for _, entry in entries if entry is not None and (layout := layout_of(entry)))
    if len(told) == 1:
        return LAYOUTS[next(iter(told))]
    if told:
        counts = ", ".join(f"{name} {count}" for name, count in told.most_common())
        raise ValueError(f"{path}: entries of several layouts ({counts}). Split the file, or say one with --layout.")
    fields = list(dict.fromkeys(name for _, entry in entries for name in entry or ()))
    more = ", ..." if len(fields) > _SHOWN_FIELDS else ""
    ours = "conversations" in fields and {"chosen", "rejected"} <= set(fields)
    hint = " LLaMA-Factory's own preference rows need no building: training mixes them in as they are." if ours else ""
    raise ValueError(
        f"{path}: the fields {', '.join(fields[:_SHOWN_FIELDS])}{more} are those of no layout known here "
        f"({', '.join(LAYOUTS)}).{hint}"
    )


def read_pairs(file: PairFile, images_are_frames: bool, account: Account) -> dict[str, Pair]:
    """The pairs of a file by their place; those that give no row are left out in `account`."""
    pairs = {}
    for where, entry in file.entries:
        account.read += 1
        try:
            if entry is None:
                raise Unusable(NOT_JSON)
            pair = file.layout.read(entry, images_are_frames)
            if pair.chosen == pair.rejected:
                raise Unusable(SAME_ANSWERS)
        except Unusable as reason:
            account.leave_out(str(reason), where, reason.detail)
            continue
        pairs[where] = pair if pair.source else replace(pair, source=_source(pair, file))
    return pairs


def _source(pair: Pair, file: PairFile) -> str:
    """Where the video comes from, as far as its path tells: the folder it begins with, else the file of pairs."""
    video = pair.video if isinstance(pair.video, str) else pair.video[0]
    parts = [part for part in Path(video).parts if part not in ("/", ".", "..")]
    return parts[0] if len(parts) > 1 and not Path(video).is_absolute() else file.path.name
