"""TVQA+: five-choice questions about The Big Bang Theory, with the answer's interval and boxes by frame.

Layout as in the released tvqa_plus_train.json and tvqa_plus_val.json (jayleicn/TVQAplus): a list of {qid, q, a0 to a4,
answer_idx, ts: [start, end] in seconds, vid_name, bbox: {frame: [{img_id, label, left, top, width, height}, ...]}}.
Frames come as folders, VID_NAME/00001.jpg and on, three a second; boxes are pixels of these 640x360 images.

Frame n is taken to be shown at (n - 1) / 3 s: it is the n-th image of its folder, the first at 0 s. TVQA+'s own code
compares intervals with frames so (`get_ts_label`, on image numbers less 1); where it matches subtitles it takes n / 3,
"roughly". The two are a frame apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question, differing
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.files import read_json
from vistadpo_plugin.datasets.text import plain, question, sentence, untokenized, words

FRAMES_PER_SECOND = 3.0

FACTS = Source(
    title="TVQA+",
    repository="https://github.com/jayleicn/TVQAplus",
    license={"license": "other", "license_name": "unverified"},
    terms=(
        "Annotations: TVQA+ (Lei et al., ACL 2020). Its repository, MIT, holds the validation set; the terms of the "
        "annotations of the project's page could not be verified.",
        "Videos: not part of this data set. TVQA's frames are of a television series, and are handed out by its "
        "authors for research, to those who ask.",
    ),
    rules=(
        "Train with `video_fps: 3`: the videos are folders of frames, three a second, and all times count on that.",
        "`event` is the refined interval `ts`. Frame n is taken to be shown at (n - 1) / 3 seconds.",
        "`box` holds what the right answer names and no other option does, as far as it is boxed; where there is no "
        "such thing, what the right answer names; else what the question names. Each kind is counted below.",
        "`keyframe` is a boxed frame inside the event where there is one; among these one that shows most of these "
        "things; among these the nearest to the middle of the event, the earlier of two.",
        "`group` is the scene (episode and segment): clips of one scene are not each other's unrelated video. The type "
        "of a question is its first word.",
        "Many questions need the subtitles, which the model is not shown.",
    ),
)

KINDS = ("what", "who", "where", "why", "how", "when", "which", "whose")
_OPTIONS = ("a0", "a1", "a2", "a3", "a4")

NAMED_BY = (
    "box of what only the right answer names",
    "box of what the right answer and others name",
    "box of what the question names",
)
OUTSIDE = "a keyframe outside its event: no boxed frame of the object lies inside"


def read_tvqa_plus(path: Path, counted_from_one: Callable[[str], bool], account: Account) -> list[Question]:
    """The questions, in order of their ids; those that cannot be used are left out in `account`.

    `counted_from_one` says whether the frames of a video that is there are numbered 1, 2, 3 and so on, without which
    frame numbers mean nothing. Raises ValueError for a file that is not TVQA+'s.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError(f"{path} is not TVQA+'s: a list of questions is expected.")
    questions: dict[str, Question] = {}
    for place, item in enumerate(content):
        account.read += 1
        reason = _unusable(item)
        where = f"tvqa-plus/{item['qid']}" if _is_number(item.get("qid")) else f"{path.name}[{place}]"
        if reason is None and where in questions:
            reason = "the same qid a second time"
        if reason is None and not counted_from_one(item["vid_name"]):
            reason = "its folder does not hold the frames 1, 2, 3 and so on without gaps"
        made = None if reason else _question(item, where)
        if made is not None and not differing(made):
            reason = "no option says anything else than the right one"
        if reason:
            account.leave_out(reason, where)
        else:
            questions[where] = made
    return [questions[name] for name in sorted(questions)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unusable(item: dict[str, Any]) -> str | None:
    """Why the question cannot be used, or None."""
    if not _is_number(item.get("qid")):
        return "a qid that is no whole number"
    for name in ("q", *_OPTIONS, "vid_name"):
        if not isinstance(item.get(name), str) or not words(item[name]):
            return f"no {'option' if name in _OPTIONS else name}"
    if item.get("answer_idx") is None:
        return "no answer_idx (the test split keeps the answers back)"
    if str(item["answer_idx"]) not in ("0", "1", "2", "3", "4"):
        return "an answer_idx that is none of 0 to 4"
    times = item.get("ts")
    if not isinstance(times, list) or len(times) != 2 or not all(map(is_finite_number, times)):
        return "a ts that is no [start, end] in seconds"
    return None if 0 <= times[0] < times[1] else "a ts that starts before 0 or does not end after it starts"


def _question(item: dict[str, Any], where: str) -> Question:
    right = item[f"a{item['answer_idx']}"]
    wrong = [item[name] for name in _OPTIONS if plain(item[name]) != plain(right)]
    keyframe, boxes, notes = _grounding(item, right, wrong)
    first = words(item["q"])[0]
    return Question(
        id=where,
        video=item["vid_name"],
        kind=first if first in KINDS else "other",
        prompt=question(untokenized(item["q"])),
        right=sentence(untokenized(right)),
        wrong=tuple(sentence(untokenized(option)) for option in wrong),
        events=(tuple(item["ts"]),),
        keyframe=keyframe,
        boxes=boxes,
        group=re.sub(r"_clip_\d+$", "", item["vid_name"]),
        notes=notes,
    )


def _grounding(
    item: dict[str, Any], right: str, wrong: list[str]
) -> tuple[float | None, tuple[Box, ...], tuple[str, ...]]:
    """(keyframe in seconds, its boxes, notes) of what the answer is about."""
    frames: dict[int, list[tuple[str, Box]]] = {}
    notes: tuple[str, ...] = ()
    for number, label, box in _boxes(item.get("bbox")):
        if box is None:
            notes = ("a box that is no {label, left, top, width, height} in a frame from 1 on is not used",)
        else:
            frames.setdefault(number, []).append((label, box))
    wanted, named_by = _wanted({label for boxed in frames.values() for label, _ in boxed}, item["q"], right, wrong)
    if not wanted:
        return None, (), (*notes, "no keyframe and box: no frame has a box of what the question or its answer names")
    start, end = item["ts"]

    def seconds(number: int) -> float:
        return (number - 1) / FRAMES_PER_SECOND

    def preference(number: int) -> tuple[bool, int, float, int]:
        shown = len({label for label, _ in frames[number]} & wanted)
        return not start <= seconds(number) <= end, -shown, abs(seconds(number) - (start + end) / 2), number

    number = min((number for number, boxed in frames.items() if {label for label, _ in boxed} & wanted), key=preference)
    outside = (OUTSIDE,) * (not start <= seconds(number) <= end)
    boxes = tuple(box for label, box in frames[number] if label in wanted)
    return round(seconds(number), 3), boxes, (*notes, named_by, *outside)


def _boxes(frames: Any) -> Iterator[tuple[int, str, Box | None]]:
    """(frame number, label in lower case, box) of every box; no box where the entry is not of the released form."""
    for name, boxed in (frames if isinstance(frames, dict) else {}).items():
        for entry in boxed if isinstance(boxed, list) else [boxed]:
            number = int(name) if name.isascii() and name.isdigit() else 0
            given = entry if isinstance(entry, dict) else {}
            sides = [given.get(side) for side in ("left", "top", "width", "height")]
            label = given.get("label")
            usable = number >= 1 and all(map(is_finite_number, sides)) and min(sides[2:]) >= 1
            usable = usable and isinstance(label, str) and bool(words(label))
            yield number, label.lower() if usable else "", tuple(sides) if usable else None


def _wanted(labels: set[str], asked: str, right: str, wrong: list[str]) -> tuple[set[str], str]:
    """(labels, how they were found): which of the boxed things the answer turns on, empty where none is named."""
    other = frozenset(word for option in wrong for word in words(option))
    in_right = {label for label in labels if _names(right, label)}
    only_right = {label for label in in_right if not set(words(label)) <= other}
    in_question = {label for label in labels if _names(asked, label)}
    found = zip((only_right, in_right, in_question), NAMED_BY, strict=True)
    return next(((named, how) for named, how in found if named), (set(), ""))


def _names(text: str, label: str) -> bool:
    return set(words(label)) <= set(words(text))
