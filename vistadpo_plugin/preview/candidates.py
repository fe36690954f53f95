"""The rows of a preview: all of a file read and checked as a run does it, some of them chosen, each with its mate."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from vistadpo_plugin.data.batches.likeness import find_likeness, look_at, videos_of
from vistadpo_plugin.data.batches.mates import NO_ROW, pair_alike, pair_rows
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.schema import Row, RowError, parse_row
from vistadpo_plugin.preview.settings import PreviewSettings

FIRST_EPOCH = 0


@dataclass(frozen=True)
class Candidate:
    """A row of the file: `row` and `grounded` as far as they could be made, `error` where that was not far enough."""

    place: str
    text: str
    row: Row | None = None
    grounded: GroundedRow | None = None
    error: RowError | None = None

    @property
    def id(self) -> str | None:
        """The row's id; None where it has none, or could not be read."""
        return None if self.row is None or self.row.id == self.place else self.row.id


def read_candidates(settings: PreviewSettings) -> list[Candidate]:
    """Every row of the settings' files, in their order. Raises ValueError for a file that cannot be read."""
    found: list[tuple[str, str]] = []
    for file in settings.files:
        try:
            found += read_rows(file)
        except OSError as error:
            raise ValueError(f"cannot read {file}: {error.strerror}.") from None
    if not found:
        raise ValueError(f"{', '.join(settings.files)}: no rows; one JSON object a line is expected.")
    rows = tqdm(found, desc="reading the videos' headers", unit="row", delay=2, leave=False)
    return [_check(place, text, settings) for place, text in rows]


def _check(place: str, text: str, settings: PreviewSettings) -> Candidate:
    row = None
    try:
        row = parse_row(text, place)
        return Candidate(place, text, row, ground(row, settings.media_dir, settings.video_fps))
    except RowError as error:
        return Candidate(place, text, row, None, error)


def choose(candidates: Sequence[Candidate], count: int, seed: int) -> list[int]:
    """Indices of `count` rows drawn at random, in the file's order; of all rows when there are no more."""
    if count >= len(candidates):
        return list(range(len(candidates)))
    return sorted(np.random.default_rng(seed).choice(len(candidates), count, replace=False).tolist())


def find(candidates: Sequence[Candidate], wanted: Sequence[str]) -> list[int]:
    """Indices of the rows with these ids or places (`rows.jsonl:12`), in the order asked for. Raises ValueError."""
    known: dict[str, list[int]] = {}
    for index, candidate in enumerate(candidates):
        for name in {candidate.place, candidate.id} - {None}:
            known.setdefault(name, []).append(index)
    found: list[int] = []
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"no row has the id or place {name!r}" + (f"; did you mean {near[0]!r}?" if near else "."))
        found += known[name]
    return list(dict.fromkeys(found))


def find_mates(candidates: Sequence[Candidate], settings: PreviewSettings) -> list[GroundedRow | None]:
    """Every row's mate in the first epoch of a run over the rows that can be used."""
    usable = [index for index, candidate in enumerate(candidates) if candidate.grounded is not None]
    rows, seed = GroundedRows([candidates[index].grounded for index in usable]), settings.pairing_seed
    if settings.vista.vista_mates == "alike":
        alike = find_likeness(rows, look_at(videos_of(rows), settings.video_fps))
        pairs = pair_alike(rows.recordings, rows.video_keys, alike, seed, FIRST_EPOCH)
    else:
        pairs = pair_rows(rows.recordings, seed, FIRST_EPOCH)
    mates: list[GroundedRow | None] = [None] * len(candidates)
    for index, mate in zip(usable, pairs, strict=True):
        if mate != NO_ROW:
            mates[index] = candidates[usable[mate]].grounded
    return mates
