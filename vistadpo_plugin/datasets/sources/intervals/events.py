"""Charades-STA, ActivityNet Captions and QVHighlights read into events: a sentence, and when it holds.

Layouts as released:

- Charades-STA (jiyanggao/TALL): lines `VIDEO start end##sentence`, seconds.
- ActivityNet Captions: {video: {duration, timestamps: [[start, end], ...], sentences: [sentence, ...]}}, seconds.
- QVHighlights (jayleicn/moment_detr, data/README.md): JSON lines {qid, query, vid, duration, relevant_windows:
  [[start, end], ...], relevant_clip_ids: [number of a 2-second clip, ...], saliency_scores: [three scores from 0 to 4,
  by clip of relevant_clip_ids]}; vid is YOUTUBE-ID_start_end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.sources.files import read_json, read_json_lines, read_text
from vistadpo_plugin.datasets.text import plain, sentence, stems, words

CLIP_SECONDS = 2

Window = tuple[float, float]


@dataclass(frozen=True)
class Event:
    """A sentence about a video and the windows (seconds) in which it holds; `asked` is the window to ask about."""

    id: str
    video: str
    sentence: str
    windows: tuple[Window, ...]
    asked: Window
    keyframe: float | None = None
    group: str | None = None
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def stems(self) -> frozenset[str]:
        """What the sentence says, for comparing it with others."""
        return stems(self.sentence)


@dataclass(frozen=True)
class Entry:
    """One sentence as its file has it, before anything is checked; `where` names it in the account."""

    where: str
    video: Any
    sentence: Any
    windows: Any
    clips: Any = None
    scores: Any = None
    group: str | None = None
    flaw: str | None = None


def read_events(path: Path, account: Account) -> tuple[str, list[Event]]:
    """(the format: charades-sta, activitynet or qvhighlights; the events, in order of their ids).

    Sentences that cannot be used are left out in `account`. Raises ValueError for a file of none of the three formats.
    """
    kind, entries = _entries(path)
    events: dict[str, Event] = {}
    said: set[tuple[Any, ...]] = set()
    for entry in entries:
        account.read += 1
        reason = entry.flaw or _unusable(entry)
        if reason is None:
            event = _event(entry)
            key = (event.video, event.windows, plain(event.sentence))
            if key in said:
                reason = "the same sentence about the same interval a second time"
            elif event.id in events:
                reason = "the same id a second time"
        if reason is not None:
            account.leave_out(reason, entry.where)
            continue
        said.add(key)
        events[event.id] = event
    return kind, [events[name] for name in sorted(events)]


def _entries(path: Path) -> tuple[str, list[Entry]]:
    text = read_text(path)
    first = text.lstrip()[:1]
    if first == "{" and "\n" in text.strip() and '"query"' in text.split("\n", 1)[0]:
        return "qvhighlights", list(_qvhighlights(path))
    if first == "{":
        content = read_json(path)
        if all(isinstance(item, dict) and {"timestamps", "sentences"} <= set(item) for item in content.values()):
            return "activitynet", list(_activitynet(content))
        if "query" in content and "vid" in content:
            return "qvhighlights", list(_qvhighlights(path))
    elif "##" in text.split("\n", 1)[0]:
        return "charades-sta", list(_charades_sta(text, path))
    raise ValueError(
        f"{path} is none of the three formats: Charades-STA (lines `VIDEO start end##sentence`), ActivityNet Captions "
        '({video: {"timestamps": [...], "sentences": [...]}}), QVHighlights (JSON lines with "qid", "query", "vid").'
    )


def _charades_sta(text: str, path: Path) -> Iterator[Entry]:
    """By interval and sentence, so that the order of the lines is moot; an id counts the sentences of one interval."""
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        head, marks, said = line.partition("##")
        parts = head.split()
        try:
            video, start, end = parts[0], float(parts[1]), float(parts[2])
        except (IndexError, ValueError):
            video, start, end = "", 0.0, 0.0
        if not marks or len(parts) != 3 or not video:
            flaw = "a line that is no `VIDEO start end##sentence`"
            lines.append(Entry(f"{path.name}:{number}", None, None, None, flaw=flaw))
        else:
            lines.append(Entry(f"{path.name}:{number}", video, said, [[start, end]]))
    yield from (entry for entry in lines if entry.flaw)
    counted: dict[str, int] = {}
    usable = [entry for entry in lines if not entry.flaw]
    for entry in sorted(usable, key=lambda entry: (entry.video, entry.windows, entry.sentence)):
        ((start, end),) = entry.windows
        name = f"charades-sta/{entry.video}/{start:g}-{end:g}"
        counted[name] = counted.get(name, 0) + 1
        yield Entry(f"{name}/{counted[name]}", entry.video, entry.sentence, entry.windows)


def _activitynet(content: dict[str, Any]) -> Iterator[Entry]:
    for video, item in sorted(content.items()):
        sentences, times = (item[name] if isinstance(item[name], list) else [] for name in ("sentences", "timestamps"))
        flaw = None if len(sentences) == len(times) else "sentences and timestamps of one video differ in number"
        for number, said in enumerate(sentences):
            window = times[number] if number < len(times) else None
            yield Entry(f"activitynet/{video}/{number}", video, said, [window], flaw=flaw)


def _qvhighlights(path: Path) -> Iterator[Entry]:
    items = read_json_lines(path)
    for place, item in enumerate(items, start=1):
        if not isinstance(item, dict) or isinstance(item.get("qid"), bool) or not isinstance(item.get("qid"), int):
            yield Entry(f"{path.name}:{place}", None, None, None, flaw="a line without a qid")
            continue
        flaw = None if "relevant_windows" in item else "no relevant_windows (the test split keeps them back)"
        video = item.get("vid")
        # YOUTUBE-ID_start_end: cuts of one upload are of one recording.
        group = video.rsplit("_", 2)[0] if isinstance(video, str) and video.count("_") >= 2 else None
        clips, scores = item.get("relevant_clip_ids"), item.get("saliency_scores")
        windows = item.get("relevant_windows")
        yield Entry(f"qvhighlights/{item['qid']}", video, item.get("query"), windows, clips, scores, group, flaw)


def _unusable(entry: Entry) -> str | None:
    """Why the sentence cannot be used, or None."""
    if not isinstance(entry.video, str) or not entry.video.strip():
        return "no video"
    if not isinstance(entry.sentence, str) or not words(entry.sentence):
        return "no sentence"
    if not isinstance(entry.windows, list) or not entry.windows:
        return "no interval"
    for window in entry.windows:
        if not isinstance(window, list) or len(window) != 2 or not all(map(is_finite_number, window)):
            return "an interval that is no [start, end] in seconds"
        if not 0 <= window[0] < window[1]:
            return "an interval that starts before 0 or does not end after it starts"
    return None


def _event(entry: Entry) -> Event:
    windows = tuple(sorted((start, end) for start, end in entry.windows))
    asked = max(windows, key=lambda window: (window[1] - window[0], -window[0]))
    keyframe, notes = None, ()
    if entry.clips is not None or entry.scores is not None:
        clip = _most_salient(entry.clips, entry.scores)
        if clip is None:
            notes = ("no keyframe: clips and saliency scores that do not go together",)
        else:
            middle = (clip + 0.5) * CLIP_SECONDS
            keyframe = middle
            asked = next((window for window in windows if window[0] <= middle <= window[1]), asked)
    return Event(
        entry.where, entry.video.strip(), sentence(entry.sentence), windows, asked, keyframe, entry.group, notes
    )


def _most_salient(clips: Any, scores: Any) -> int | None:
    """The clip with the highest sum of scores, the earliest of several; None when they are not of the released form."""
    if not isinstance(clips, list) or not isinstance(scores, list) or not clips or len(clips) != len(scores):
        return None
    if not all(isinstance(clip, int) and clip >= 0 for clip in clips):
        return None
    if not all(isinstance(given, list) and given and all(map(is_finite_number, given)) for given in scores):
        return None
    return min(zip(clips, scores, strict=True), key=lambda pair: (-sum(pair[1]), pair[0]))[0]
