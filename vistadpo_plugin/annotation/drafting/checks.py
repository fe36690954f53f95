"""What a draft is worth, by asking the endpoint back without telling it what it said.

`right_on_event`: on frames of the event the right answer is preferred to the wrong one. `not_right_on_rest`: on frames
of the rest it is not, so that one has to see the event. Preferred means in both orders of the two answers; a model that
likes the first place, or guesses, prefers nothing. `box_iou`: how much a second box of the object overlaps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from vistadpo_plugin.annotation.drafting.draft import BOX_OUTSIDE, BOX_WORDS, Draft, Settings, again, read_pixels, text
from vistadpo_plugin.annotation.drafting.footage import Footage, evenly
from vistadpo_plugin.annotation.drafting.pictures import picture, sent_size
from vistadpo_plugin.annotation.drafting.prompts import PromptPack
from vistadpo_plugin.annotation.drafting.reply import Complaint, Reading, read_box, read_letter, schema
from vistadpo_plugin.annotation.drafting.talk import ask_until_good
from vistadpo_plugin.annotation.overlap import box_iou
from vistadpo_plugin.data.video.intervals import inside_events, nearest_frame
from vistadpo_plugin.endpoint import Ask, Messages

VALID, RIGHT_ON_EVENT, NOT_RIGHT_ON_REST, BOX_IOU = "valid", "right_on_event", "not_right_on_rest", "box_iou"
CHECKS = (VALID, RIGHT_ON_EVENT, NOT_RIGHT_ON_REST, BOX_IOU)

FRAMES = 8  # of a view, at most
GOOD_IOU = 0.5

_EVENT_QUESTION = (
    "Asked again on the event's frames alone, the model does not prefer `chosen` to `rejected`: is `chosen` right, "
    "`rejected` wrong, and does `event` show it?"
)
_REST_QUESTION = (
    "The model prefers `chosen` also on frames without the event: does one have to see the event to answer, and is it "
    "all inside of `event`?"
)


def passed(name: str, value: Any) -> bool:
    """Whether a check's value is a pass."""
    return value >= GOOD_IOU if name == BOX_IOU else bool(value)


async def ask_back(
    ask: Ask, draft: Draft, footage: Footage, pack: PromptPack, settings: Settings
) -> tuple[dict[str, Any], list[str]]:
    """The draft's checks by name, and what a person has to decide about it.

    A check that got no usable reply is not among them, and is to be decided. Raises VideoError.
    """
    checks: dict[str, Any] = {}
    decide: list[str] = []
    inside = inside_events(footage.times, (tuple(draft.row["event"]),))
    for name, view, right, question in (
        (RIGHT_ON_EVENT, inside, True, _EVENT_QUESTION),
        (NOT_RIGHT_ON_REST, ~inside, False, _REST_QUESTION),
    ):
        if not view.any():
            continue  # which `validate` says of the row
        preferred = await _prefers(ask, draft, footage, evenly(np.flatnonzero(view), FRAMES), pack, settings)
        if isinstance(preferred, Complaint):
            decide.append(_not_checked(name, preferred))
            continue
        checks[name] = preferred is right
        if not checks[name]:
            decide.append(question)

    again_drawn = await _draw(ask, draft, footage, pack, settings)
    if isinstance(again_drawn, Complaint):
        decide.append(_not_checked(BOX_IOU, again_drawn))
    else:
        checks[BOX_IOU] = round(box_iou(draft.row["box"], again_drawn), 3)
        if not passed(BOX_IOU, checks[BOX_IOU]):
            decide.append(
                f"Asked again, the model draws another box around {draft.object!r}, {again_drawn} (IoU "
                f"{checks[BOX_IOU]:g}): is `box` right?"
            )
    return checks, decide


def _not_checked(name: str, why: Complaint) -> str:
    return f"The check {name} was not made: {why.detail}"


async def _prefers(
    ask: Ask, draft: Draft, footage: Footage, frames: list[int], pack: PromptPack, settings: Settings
) -> bool | Complaint:
    """Whether the right answer is taken on these frames, whichever place it has."""
    answers = (draft.row["chosen"], draft.row["rejected"])
    for letter, (first, second) in (("A", answers), ("B", answers[::-1])):
        words = pack.fill("choose", frames=len(frames), question=draft.row["prompt"], first=first, second=second)
        parts = [*(picture(footage, frame, settings.side) for frame in frames), text("\n" + words)]

        def unreadable(complaints: list[Complaint]) -> str:
            return pack.fill("again_letter", reasons=" ".join(complaint.detail for complaint in complaints))

        said = await ask_until_good(ask, _messages(pack, parts), read_letter, unreadable)
        if not said.good:
            return said.complaints[0]
        if said.good[0] != letter:
            return False
    return True


async def _draw(
    ask: Ask, draft: Draft, footage: Footage, pack: PromptPack, settings: Settings
) -> list[float] | Complaint:
    """The object's box on the keyframe, [x, y, width, height] in pixels of the frame."""
    frame = nearest_frame(footage.times, draft.row["keyframe"])
    size = sent_size(footage.size, settings.side)

    def read(reply: str) -> Reading[list[float]]:
        found, complaints = read_box(reply)
        if not found:
            return [], complaints
        box = read_pixels(found[0], footage.size, size, settings.boxes)
        if box is None:
            return [], [Complaint(BOX_OUTSIDE, f"`box` {found[0]} is not {BOX_WORDS[settings.boxes]}.")]
        return [box], []

    asked = json.dumps(schema("box", pack.boxes(settings.boxes, size)))
    words = pack.fill("locate", object=draft.object, schema=asked)
    messages = _messages(pack, [picture(footage, frame, settings.side), text("\n" + words)])
    said = await ask_until_good(ask, messages, read, lambda complaints: again(pack, complaints))
    return said.good[0] if said.good else said.complaints[0]


def _messages(pack: PromptPack, parts: Sequence[dict[str, Any]]) -> Messages:
    return [{"role": "system", "content": pack.texts["system"]}, {"role": "user", "content": list(parts)}]
