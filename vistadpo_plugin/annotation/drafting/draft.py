"""Drafts of a video: what a model is shown and asked, and its reply as rows whose times and boxes are a row's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vistadpo_plugin.annotation.drafting.footage import Footage, Stretch, shown_frames, stretches
from vistadpo_plugin.annotation.drafting.pictures import picture, sent_size, whole_video
from vistadpo_plugin.annotation.drafting.prompts import PromptPack
from vistadpo_plugin.annotation.drafting.reply import UNREADABLE, Complaint, Drafted, Reading, read_drafts, schema
from vistadpo_plugin.annotation.drafting.talk import NO_REPLY, ask_until_good
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.endpoint import Ask, Messages
from vistadpo_plugin.validation.kinds import KINDS, WARNING
from vistadpo_plugin.validation.texts import judge_text

THOUSANDTHS, PIXELS = "thousandths", "pixels"

EVENT_OUTSIDE = "an event outside of what was shown"
KEYFRAME_OUTSIDE = "a keyframe outside of its event"
KEYFRAME_NOT_SHOWN = "a keyframe that is none of the frames shown"
BOX_OUTSIDE = "a box that is none, or outside of its picture"
FEWER = "fewer drafts than were asked for"

# A row's field -> the reply's.
_ITS_WORDS = {
    "prompt": "question",
    "chosen": "answer",
    "rejected": "wrong_answer",
    "rejected_irrelevant": "off_topic_answer",
}

# Times are told with two decimals, and models round them to one.
_ROUNDING = 0.06  # s
_BOX_ROUNDING = 0.01  # of the picture
_TIME_DECIMALS, _BOX_DECIMALS = 3, 2

BOX_WORDS = {
    THOUSANDTHS: "[left, top, right, bottom] in thousandths of the picture",
    PIXELS: "[left, top, right, bottom] in pixels of the picture",
}


@dataclass(frozen=True)
class Settings:
    """How videos are shown and asked about.

    `drafts` a video; `frames` a request; stretches of `longest` seconds; `side` is the longer side of a picture in
    pixels; `boxes` how the model gives boxes; `whole` sends files in place of frames; `ask_back` has drafts checked.
    """

    drafts: int = 3
    frames: int = 16
    longest: float = 60.0
    scenes: bool = False
    side: int = 768
    boxes: str = THOUSANDTHS
    whole: bool = False
    ask_back: bool = True


@dataclass(frozen=True)
class Draft:
    """A row that a model drafted, and what its box is around in the model's words."""

    row: dict[str, Any]
    object: str


@dataclass(frozen=True)
class _Shown:
    """What a model was shown of a video: from when to when, at which times, and what it calls 0 s, all in seconds.

    `size` (width, height) is that of the pictures; no `times` where the whole file was sent.
    """

    start: float
    end: float
    times: tuple[float, ...]
    origin: float
    size: tuple[int, int]


def plan(footage: Footage, settings: Settings) -> list[Stretch]:
    """The stretches that the model is asked about, one request each."""
    return stretches(footage, settings.drafts, float("inf") if settings.whole else settings.longest)


def text(words: str) -> dict[str, Any]:
    """The part of a message that is text."""
    return {"type": "text", "text": words}


def _request(footage: Footage, stretch: Stretch, pack: PromptPack, settings: Settings) -> tuple[Messages, _Shown]:
    if settings.whole:
        origin, size, times = footage.start, footage.size, ()
        parts = [whole_video(footage)]
        intro = pack.fill("video_shown", start=_seconds(0.0), end=_seconds(footage.end - origin))
    else:
        frames = shown_frames(footage, stretch, settings.frames)
        origin, size = 0.0, sent_size(footage.size, settings.side)
        times = tuple(float(footage.times[frame]) for frame in frames)
        parts = []
        for number, (frame, time) in enumerate(zip(frames, times, strict=True), start=1):
            parts += [
                text(pack.fill("frame", number=number, seconds=_seconds(time)) + "\n"),
                picture(footage, frame, settings.side),
                text("\n"),
            ]
        intro = pack.fill("frames_shown", frames=len(frames), start=_seconds(footage.start), end=_seconds(footage.end))
    count = "1 question" if stretch.drafts == 1 else f"{stretch.drafts} questions"
    asked = json.dumps(schema("drafts", pack.boxes(settings.boxes, size)))
    parts.append(text(intro + pack.fill("draft", count=count, schema=asked)))
    messages = [{"role": "system", "content": pack.texts["system"]}, {"role": "user", "content": parts}]
    return messages, _Shown(stretch.start, stretch.end, times, origin, size)


def _seconds(time: float) -> str:
    return f"{time:.2f}"


def again(pack: PromptPack, complaints: Sequence[Complaint]) -> str:
    """Why a reply cannot be used, for the model."""
    return pack.fill("again", reasons="\n".join(f"- {complaint.detail}" for complaint in complaints))


async def draft_stretch(
    ask: Ask, footage: Footage, stretch: Stretch, pack: PromptPack, settings: Settings, video: str, numbers: range
) -> tuple[list[Draft], dict[str, Complaint]]:
    """The drafts of a stretch, and by id why others are not there; `numbers` and `video` are for ids and rows.

    Raises VideoError for a file whose frames cannot be read.
    """
    messages, shown = _request(footage, stretch, pack, settings)

    def read(reply: str) -> Reading[Draft]:
        found, complaints = read_drafts(reply)
        good = []
        for number, drafted in enumerate(found[: stretch.drafts], start=1):
            made = _make(drafted, footage, shown, settings, video)
            if isinstance(made, Complaint):
                complaints.append(replace(made, detail=f"draft {number}: {made.detail}"))
            else:
                good.append(made)
        return good, complaints

    said = await ask_until_good(ask, messages, read, lambda complaints: again(pack, complaints))
    drafts = [
        Draft({"id": f"{footage.name}-{number}", **draft.row}, draft.object)
        for number, draft in zip(numbers, said.good, strict=False)
    ]
    missing = numbers[len(drafts) :]
    reasons = _reasons(said.complaints, len(drafts), len(numbers))
    return drafts, {f"{footage.name}-{number}": reason for number, reason in zip(missing, reasons, strict=True)}


def _reasons(complaints: list[Complaint], came: int, asked: int) -> list[Complaint]:
    """Why each of the others did not come."""
    missing = asked - came
    for complaint in complaints:
        if complaint.reason in (NO_REPLY.reason, *UNREADABLE):
            return [complaint] * missing
    return complaints + [Complaint(FEWER, f"{came + len(complaints)} of {asked} came.")] * (missing - len(complaints))


def _make(drafted: Drafted, footage: Footage, shown: _Shown, settings: Settings, video: str) -> Draft | Complaint:
    """The row of a draft, but for its id."""
    start, end = (second + shown.origin for second in drafted.event)
    first, last = _told(shown.start, shown), _told(shown.end, shown)
    if not (shown.start - _ROUNDING <= start < end <= shown.end + _ROUNDING):
        given = f"`event` {drafted.event} does not lie in what was shown, [{first}, {last}], or ends before it starts."
        return Complaint(EVENT_OUTSIDE, given)
    start, end = max(start, footage.start), min(end, footage.end)

    keyframe = drafted.keyframe + shown.origin
    if not start - _ROUNDING <= keyframe <= end + _ROUNDING:
        return Complaint(KEYFRAME_OUTSIDE, f"`keyframe` {drafted.keyframe:g} lies outside of `event` {drafted.event}.")
    if shown.times:
        nearest = min(shown.times, key=lambda time: abs(time - keyframe))
        if abs(nearest - keyframe) > _ROUNDING:
            times = ", ".join(_told(time, shown) for time in shown.times)
            given = f"`keyframe` {drafted.keyframe:g} is none of the frames shown; their times are {times}."
            return Complaint(KEYFRAME_NOT_SHOWN, given)
        keyframe = nearest

    box = read_pixels(drafted.box, footage.size, shown.size, settings.boxes)
    if box is None:
        return Complaint(BOX_OUTSIDE, f"`box` {drafted.box} is not {BOX_WORDS[settings.boxes]}.")
    row = {
        "video": video,
        "prompt": drafted.question.strip(),
        "chosen": drafted.answer.strip(),
        "rejected": drafted.wrong_answer.strip(),
        "rejected_irrelevant": drafted.off_topic_answer.strip(),
        "event": [round(start, _TIME_DECIMALS), round(end, _TIME_DECIMALS)],
        "keyframe": round(keyframe, _TIME_DECIMALS),
        "box": box,
        "kind": drafted.wrong_kind,
    }
    try:
        for kind, sentence in judge_text(parse_row(row, "draft")):
            if KINDS[kind].severity == WARNING:
                return Complaint(KINDS[kind].title, _in_its_words(f"{sentence}."))
    except RowError as error:
        reason = KINDS[error.kind].title if error.kind else "a row that is refused"
        return Complaint(reason, _in_its_words(error.message))
    return Draft(row, drafted.object.strip())


def _in_its_words(sentence: str) -> str:
    """A sentence about a row's fields as one about the fields of the model's reply."""
    return re.sub(r"`(\w+)`", lambda name: f"`{_ITS_WORDS.get(name[1], name[1])}`", sentence)


def _told(time: float, shown: _Shown) -> str:
    return _seconds(time - shown.origin)


def read_pixels(
    corners: Sequence[float], size: tuple[int, int], shown: tuple[int, int], unit: str
) -> list[float] | None:
    """[left, top, right, bottom] on a picture of size `shown` -> [x, y, width, height] in pixels of a frame of `size`.

    None where it has no area or does not lie in the picture.
    """
    width, height = (1000, 1000) if unit == THOUSANDTHS else shown
    left, top, right, bottom = (corner / of for corner, of in zip(corners, (width, height) * 2, strict=True))
    if not all(-_BOX_ROUNDING <= share <= 1 + _BOX_ROUNDING for share in (left, top, right, bottom)):
        return None
    left, top, right, bottom = (min(max(share, 0.0), 1.0) for share in (left, top, right, bottom))
    if left >= right or top >= bottom:
        return None
    box = (left * size[0], top * size[1], (right - left) * size[0], (bottom - top) * size[1])
    return [round(number, _BOX_DECIMALS) for number in box]
