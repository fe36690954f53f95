"""What a view shows, in a few words; the words of the page and of the picture."""

from __future__ import annotations

import os

from vistadpo_plugin.data.rows.grounding import outside_stretch
from vistadpo_plugin.data.rows.schema import Box, Row
from vistadpo_plugin.data.video.centre_square import centre_square, seen_area
from vistadpo_plugin.data.video.intervals import inside_events
from vistadpo_plugin.data.video.video import frame_size
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME,
    KEYFRAME_NEGATIVE,
    TERM_OF,
    VIDEO_NEGATIVE,
    token_view,
)
from vistadpo_plugin.preview.shown import ShownFrame, ShownRow, ShownView

LEVELS = (("video", FULL, VIDEO_NEGATIVE), ("clip", CLIP, CLIP_NEGATIVE), ("object", KEYFRAME, KEYFRAME_NEGATIVE))
"""(term, preferred view, rejected view)"""

TITLES = {
    FULL: "full video",
    VIDEO_NEGATIVE: "rejected video",
    CLIP: "clip",
    CLIP_NEGATIVE: "rejected clip",
    KEYFRAME: "keyframe",
    KEYFRAME_NEGATIVE: "rejected keyframe",
}

_MADE = {
    "reverse": "the same frames{groups}, backwards",
    "shuffle": "the same frames{groups}, shuffled",
    "drop": "{kept} of the same frames, each until the next one",
    "noise": "noise in place of the {frames}",
    "black": "black in place of the {frames}",
    "mask": "{boxes} filled with {fill}",
    "move": "{objects} moved to the far corner, {places} filled with {fill}",
}
_FILLS = {"mean": "the frame's mean colour", "black": "black", "white": "white", "blur": "a blur of the surroundings"}


def frame_caption(frame: ShownFrame, view: ShownView) -> str:
    """As in `#14 · 1.40 s`; images beside the video go by their names, and what is no frame by what it is."""
    if frame.index is None:
        return str(view.made)
    source = view.origin.source.video
    if source != view.origin.owner.video and not isinstance(source, str):
        return os.path.basename(source[frame.index])
    return f"#{frame.index} · {frame.seconds:.2f} s"


def describe_view(view: ShownView, shown: ShownRow, view_keys: ViewKeys) -> str:
    """Which frames these are, out of how many, of which file."""
    row, taken, available = shown.grounded, len(view.frames), len(view.origin.times)
    if view.made is not None:
        several, magnitude = len(row.boxes) > 1, view_keys.magnitude(epoch=0)
        return _MADE[view.made].format(
            frames="frame" if taken == 1 else "frames",
            boxes="the boxes" if several else "the box",
            objects="the objects" if several else "the object",
            places="their places" if several else "its place",
            fill=_FILLS[view_keys.mask_fill],
            kept=len({frame.index for frame in view.frames}),
            groups="" if magnitude is None else f" in groups of {max(1, taken // magnitude)}",
        )
    if view.name in TERM_OF and view.origin.owner is row and row.own_negatives(TERM_OF[view.name]):
        return _describe_own(view, shown)
    if view.name == KEYFRAME:
        if isinstance(row.keyframe, str):
            return f"the image {os.path.basename(row.keyframe)}"
        return f"the frame nearest to {row.keyframe:g} s"
    if view.name == CLIP and row.clip_images:
        return f"{taken} of {plural(available, 'image')} of {shown.row.clip_chosen}"
    if view.name == CLIP_NEGATIVE and view.origin.owner is row:
        if row.clip_negative_images:
            return f"{taken} of {plural(available, 'image')} of {shown.row.clip_rejected}"
        start, end = row.outside
        pool = int(outside_stretch(view.origin.times, row).sum())
        return (
            f"{taken} of the {plural(pool, 'frame')} in the longest stretch without the event, "
            f"{start:.2f} to {end:.2f} s"
        )
    if view.name == CLIP:
        pool = int(inside_events(view.origin.times, row.events).sum())
        inside = "the event" if len(row.events) == 1 else f"the {len(row.events)} events"
        times = " and ".join(f"{start:.2f} to {end:.2f} s" for start, end in row.events)
        return f"{taken} of the {plural(pool, 'frame')} inside {inside}, {times}"
    counted = f"{taken} of {plural(available, 'frame')}, {view.origin.duration:.2f} s"
    if view.origin.owner is not row:
        return f"the video of the mate {view.origin.owner.where}: {counted}"
    return f"{counted}, {describe_size(view)}"


def _describe_own(view: ShownView, shown: ShownRow) -> str:
    """A rejected view that the row brings itself; of several it is the one of this epoch."""
    term = TERM_OF[view.name]
    several = {
        "video": shown.row.rejected_videos,
        "clip": shown.row.rejected_clips,
        "object": shown.row.rejected_keyframes,
    }[term]
    source = view.origin.source.video
    named = os.path.basename(source) if isinstance(source, str) else os.path.basename(source[0])
    which = "the row's own" if len(several) == 1 else f"one of the row's own {len(several)}"
    if term == "object":
        return f"{which}: {named}"
    counted = f"{len(view.frames)} of {plural(len(view.origin.times), 'frame')}, {view.origin.duration:.2f} s"
    return f"{which}: {named}, {counted}"


def describe_size(view: ShownView) -> str:
    """Width and height of the file's frames, and of what is handed to the model's processor where that differs."""
    original, shown = frame_size(view.origin.source.video), view.frames[0].image.size
    text = f"{original[0]} × {original[1]}"
    return text if original == shown else f"{text} shrunk to {shown[0]} × {shown[1]}"


def seen_square(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, width, height) of what a cropping processor keeps of a frame, as shares of it."""
    (width, height), (left, top, side) = size, centre_square(size)
    return left / width, top / height, side / width, side / height


def unseen_share(boxes: tuple[Box, ...], size: tuple[int, int]) -> float:
    """Share of the boxes' area that lies outside the centre square of a frame of `size` (width, height)."""
    return 1 - sum(seen_area(box, size) for box in boxes) / sum(w * h for _, _, w, h in boxes)


def describe_unseen(shown: ShownRow, crop: bool) -> str | None:
    """A sentence where the crop takes away part of the boxes, at least half a per cent."""
    boxes, view = shown.grounded.boxes, shown.views.get(KEYFRAME)
    if not crop or not boxes or view is None:
        return None
    share = unseen_share(boxes, shown.grounded.frame_size)
    what = "box" if len(boxes) == 1 else "boxes"
    return f"{share:.0%} of the {what} lies outside the square that the model sees" if share >= 0.005 else None


def list_texts(row: Row | None) -> dict[str, str]:
    """Prompt and answers by name, and what is marked in them; none for a row that could not be read."""
    if row is None:
        return {}
    marked = [
        f"{name}: {', '.join(row.answers[name][start:end] for start, end in spans)}"
        for name, spans in row.phrases.items()
    ]
    return {"prompt": row.prompt, **row.answers} | ({"phrases": "; ".join(marked)} if marked else {})


def describe_term(term: str, shown: ShownRow, view_keys: ViewKeys) -> str | None:
    """Where the token term looks, and how several rejected answers are weighed; else terms say it by their name."""
    if term in shown.off:
        return None
    if term == "response" and shown.row.more_rejected:
        return f"rejected {', '.join(f'{weight:.2g}' for weight in shown.row.rejected_weights)}"
    if term != "token":
        return None
    return f"on the {TITLES[token_view(shown.grounded, view_keys)]}"
