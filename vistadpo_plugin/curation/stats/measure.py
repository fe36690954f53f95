"""The figures of every row, and those of its video where that is at hand."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vistadpo_plugin.curation.entries import Entry, find_recordings
from vistadpo_plugin.data.rows.grounding import GroundedRow, assume_files
from vistadpo_plugin.validation.examine import Progress
from vistadpo_plugin.validation.files import VideoFacts, VideoJob, VideoResult, inspect
from vistadpo_plugin.validation.isolation import Workers

ANSWERS = ("chosen", "rejected", "rejected_irrelevant")
KIND, NOT_SAID = "kind", "not said"
# What the headers of one video, and of the images that one of its rows names, may take to be read.
_SECONDS, _SECONDS_A_ROW = 60.0, 0.2


@dataclass(frozen=True)
class RowFacts:
    """One row. `owner` is what rows are told apart by, `kind` what is wrong with its rejected answer.

    `seconds` are its video's, `event_seconds` what its events cover together, `event_share` their share of the video,
    `box_share` the largest box's share of the frame's area; None where row or files do not say. `characters` are the
    lengths of the answers it has, by field.
    """

    owner: str
    kind: str
    recording: str
    seconds: float | None
    event_seconds: float | None
    event_share: float | None
    boxes: int
    box_share: float | None
    characters: dict[str, int]


def measure(
    entries: Sequence[Entry], owners: Sequence[str], images_fps: float, workers: int, progress: Progress
) -> list[RowFacts]:
    """The facts of each entry, which belongs to one of `owners`. `workers` processes read headers, 0: none is read."""
    looked = _look(entries, images_fps, workers, progress) if workers else {}
    found = []
    names = find_recordings(entries).names
    for index, (entry, owner, recording) in enumerate(zip(entries, owners, names, strict=True)):
        row, video = looked.get(index, (None, None))
        found.append(_facts(entry, owner, recording, row or assume_files(entry.row), video))
    return found


def label(entry: Entry, field: str, absent: str) -> str:
    """What a row says in a field, as text; `absent` where it does not."""
    value: Any = entry.fields.get(field)
    if value is None:
        return absent
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _look(
    entries: Sequence[Entry], images_fps: float, workers: int, progress: Progress
) -> dict[int, tuple[GroundedRow | None, VideoFacts | None]]:
    """By the entry's index what its files hold, as far as they can be read; a video's entries go to one process."""
    members: dict[object, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        members[str(entry.media_dir), entry.row.video].append(index)
    groups = list(members.values())
    jobs = [
        VideoJob(tuple(entries[index].row for index in group), str(entries[group[0]].media_dir), images_fps, False)
        for group in groups
    ]
    found: dict[int, tuple[GroundedRow | None, VideoFacts | None]] = {}
    with Workers(inspect, workers) as processes:
        results = processes.run(jobs, lambda job: _SECONDS + _SECONDS_A_ROW * len(job.rows))
        for number, result in progress(results, len(jobs)):
            if isinstance(result, VideoResult):
                for index, row in zip(groups[number], result.rows, strict=True):
                    found[index] = (row if isinstance(row, GroundedRow) else None, result.facts)
    return found


def _facts(entry: Entry, owner: str, recording: str, row: GroundedRow, video: VideoFacts | None) -> RowFacts:
    seconds = None if video is None else video.seconds
    events = sum(end - start for start, end in row.events) if row.events else None
    width, height = row.frame_size
    largest = max((box[2] * box[3] for box in row.boxes), default=None)
    return RowFacts(
        owner,
        label(entry, KIND, NOT_SAID),
        recording,
        seconds,
        events,
        events / seconds if events is not None and seconds else None,
        len(row.boxes),
        largest / (width * height) if largest is not None and width * height else None,
        {name: len(getattr(entry.row, name)) for name in ANSWERS if getattr(entry.row, name) is not None},
    )
