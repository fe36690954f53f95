"""NExT-GQA: five-choice questions (`val.csv`) with the event intervals of their answers (`gsub_val.json`).

Layout as in the repository doc-doc/NExT-GQA, datasets/nextgqa: the csv holds video_id, question, answer (the text of
the right option), qid, type, a0 to a4; the json holds, by video, `duration` in seconds and `location`: by qid a list
of [start, end] in seconds.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question, differing
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.text import plain, question, sentence

FACTS = Source(
    title="NExT-GQA",
    repository="https://github.com/doc-doc/NExT-GQA",
    license={"license": "mit"},
    terms=(
        "Annotations: NExT-GQA (Xiao et al., CVPR 2024), MIT.",
        "Videos: not part of this data set. They are VidOR's, out of YFCC100M; each has the license that its author "
        "gave it.",
    ),
    rules=(
        "`event` holds the question's intervals as they are annotated; `ground` merges those that overlap.",
        "Questions of one type are CW (why), CH (how), TN, TC, TP (what after, while, before).",
    ),
)

OPTIONS = ("a0", "a1", "a2", "a3", "a4")
COLUMNS = ("video_id", "question", "answer", "qid", "type", *OPTIONS)


def find_split(folder: Path, split: str | None) -> str:
    """The split to read: the one asked for, else the only one that has both files.

    Raises ValueError when there is no such split, or several and none was named.
    """
    grounded = sorted(
        path.stem.removeprefix("gsub_")
        for path in folder.glob("gsub_*.json")
        if (folder / f"{path.stem.removeprefix('gsub_')}.csv").is_file()
    )
    if split in grounded:
        return split
    if split is not None or not grounded:
        wanted = f"{split}.csv and gsub_{split}.json" if split else "SPLIT.csv and gsub_SPLIT.json of the same split"
        raise ValueError(f"{folder} does not hold {wanted}; splits with both: {', '.join(grounded) or 'none'}.")
    if len(grounded) > 1:
        raise ValueError(f"{folder} holds the splits {', '.join(grounded)}; say which with --split.")
    return grounded[0]


def read_nextgqa(folder: Path, split: str, account: Account) -> list[Question]:
    """The questions of `split`, in order of their ids; those that cannot be used are left out in `account`.

    Raises ValueError for files that are not NExT-GQA's.
    """
    path, located = folder / f"{split}.csv", _read_locations(folder / f"gsub_{split}.json")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; NExT-GQA's csv has {', '.join(COLUMNS)}.")
        lines = list(reader)

    questions: dict[str, Question] = {}
    for line in sorted(lines, key=lambda line: [line[column] or "" for column in COLUMNS]):
        account.read += 1
        video, qid = (line["video_id"] or "").strip(), (line["qid"] or "").strip()
        where = f"nextgqa/{video}/{qid}"
        reason = _unusable(line)
        if reason is None and where in questions:
            reason = "the same video_id and qid a second time"
        intervals = None if reason else located.pop((video, qid), None)
        if reason is None:
            reason = _unusable_intervals(intervals)
        if reason:
            account.leave_out(reason, where)
            continue
        made = Question(
            id=where,
            video=video,
            kind=line["type"].strip(),
            prompt=question(line["question"]),
            right=sentence(line["answer"]),
            wrong=tuple(sentence(line[name]) for name in OPTIONS if plain(line[name]) != plain(line["answer"])),
            events=tuple((start, end) for start, end in intervals),
        )
        if differing(made):
            questions[where] = made
        else:
            account.leave_out("no option says anything else than the right one", where)
    for video, qid in located:
        account.note("an interval whose question is not in the csv, or was left out", f"nextgqa/{video}/{qid}")
    return [questions[name] for name in sorted(questions)]


def _read_locations(path: Path) -> dict[tuple[str, str], Any]:
    """(video, qid) -> its intervals, as they stand in the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return {
            (video, qid): intervals
            for video in sorted(content)
            for qid, intervals in sorted(content[video]["location"].items())
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not NExT-GQA's grounding ({type(error).__name__}: {error}); "
            '{video: {"location": {qid: [[start, end], ...]}}} is expected.'
        ) from None


def _unusable(line: dict[str, str | None]) -> str | None:
    """Why the question's texts cannot be used, or None."""
    if any(not (line[column] or "").strip() for column in COLUMNS):
        return "an empty field"
    is_option = any(plain(line[name]) == plain(line["answer"]) for name in OPTIONS)
    return None if is_option else "the answer is none of the five options"


def _unusable_intervals(intervals: Any) -> str | None:
    if intervals is None:
        return "no interval for the question"
    if not isinstance(intervals, list) or not intervals:
        return "an interval that is no [start, end] in seconds"
    for pair in intervals:
        if not isinstance(pair, list) or len(pair) != 2 or not all(is_finite_number(item) for item in pair):
            return "an interval that is no [start, end] in seconds"
        if not 0 <= pair[0] < pair[1]:
            return "an interval that starts before 0 or ends before it starts"
    return None
