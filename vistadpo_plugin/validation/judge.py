"""What a usable row says about itself: the terms its grounding does not reach, and what training would note of it."""

from __future__ import annotations

from collections.abc import Iterator

from vistadpo_plugin.data.rows.box_style import CORNERS, SHARES
from vistadpo_plugin.data.rows.grounding import (
    BOX_CLIPPED,
    BOX_OUTSIDE,
    EVENT_CUT,
    KEYFRAME_FIRST,
    KEYFRAME_MOVED,
    NO_BOX_LEFT,
    NO_EVENT,
    NO_EVENT_FRAME,
    NO_KEYFRAME,
    NO_OUTSIDE,
    PICTURE_LATE,
    GroundedRow,
)
from vistadpo_plugin.data.rows.schema import IGNORED_FIELD, NO_IRRELEVANT, Box
from vistadpo_plugin.data.rows.values import NO_AREA
from vistadpo_plugin.data.video.centre_square import seen_area
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import missing_grounding

NOTE_KINDS = {
    NO_IRRELEVANT: "no-irrelevant-answer",
    NO_AREA: "box-without-area",
    BOX_OUTSIDE: "box-outside-frame",
    BOX_CLIPPED: "box-clipped",
    EVENT_CUT: "event-cut",
    KEYFRAME_MOVED: "keyframe-moved",
    KEYFRAME_FIRST: "keyframe-folder",
    PICTURE_LATE: "picture-late",
}
REASON_KINDS = {
    NO_EVENT_FRAME: "event-without-frame",
    NO_OUTSIDE: "event-fills-video",
}
"""Why a term is off, where the author gave the grounding for it; what was never given is only counted."""

BOX_KINDS = {SHARES: "boxes-as-shares", CORNERS: "boxes-as-corners"}


def judge(row: GroundedRow, view_keys: ViewKeys) -> Iterator[tuple[str, str]]:
    """(kind, sentence) of every warning and note that the row earns under these vista_* keys."""
    reasons = {term: missing_grounding(row, term, view_keys) for term in view_keys.terms}
    for note in dict.fromkeys(row.notes):
        if note.endswith(IGNORED_FIELD):
            yield "ignored-field", note
            continue
        kind = NOTE_KINDS.get(note, "other-note")
        if kind in ("box-without-area", "box-outside-frame"):
            last = reasons.get("object") == NO_BOX_LEFT
            note += ": the row has no object term" if last else ", the row's other boxes stay"
        yield kind, f"{row.video_key}, by {row.late:.2f} s: {note}" if note == PICTURE_LATE else note
    for term, reason in reasons.items():
        if reason in REASON_KINDS:
            yield REASON_KINDS[reason], f"{reason}: the row has no {term} term"
    if row.boxes and "keyframe" in row.off:
        yield "box-without-keyframe", "`box` is given but no `keyframe`: the row has no object term"
    for field, term, missing, preferred in (
        ("rejected_clip", "clip", "event", "`event`"),
        ("rejected_keyframe", "object", "keyframe", "`keyframe`"),
    ):
        if row.own_negatives(term) and row.off.get(missing) in (NO_EVENT, NO_KEYFRAME):
            yield "rejected-alone", f"`{field}` is given but no {preferred}: the row has no {term} term"
    hidden = [box for box in row.boxes if is_cropped_away(box, row.frame_size)]
    if hidden:
        width, height = row.frame_size
        what = "the box lies" if len(hidden) == len(row.boxes) else f"{len(hidden)} of {len(row.boxes)} boxes lie"
        yield "crop-hides-box", f"{what} outside the middle square of the {width}x{height} frame"


def is_cropped_away(box: Box, frame_size: tuple[int, int]) -> bool:
    """Whether the box shares nothing with the largest centred square of the frame; an unknown frame hides nothing."""
    return all(frame_size) and not seen_area(box, frame_size)
