"""One preference pair, whatever layout it came in, and how its texts and videos are read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from vistadpo_plugin.data.rows.values import VIDEO_PLACEHOLDER

Video = str | tuple[str, ...]
"""The path of a video or of a folder of frames, or those of its frames in order, as the file of pairs writes them."""

# Where a video or its frames are shown. LLaVA's data writes <image> for a video too.
_PLACEHOLDERS = re.compile(r"(?:<(?:video|image)>[ \n]*)+")


class Unusable(Exception):
    """Why a pair gives no row. The message is counted, so it names no value of the pair; `detail` may."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True)
class Pair:
    """A question about a video with a preferred and a rejected answer; `rejected_video` is the video that the rejected
    side is about, where that is another one.

    `phrases` are what is marked in `chosen` and `rejected`, as a row has them. `source` is where the video comes from,
    by which missing ones are counted; None where the layout does not say. `notes` are things to count when the pair
    becomes a row.
    """

    video: Video
    prompt: str
    chosen: str
    rejected: str
    rejected_video: Video | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()
    phrases: dict[str, list[str | list[int]]] = field(default_factory=dict)


def read_text(entry: dict[str, Any], field: str) -> str:
    """A field's text without the blanks around it. Raises Unusable."""
    value = entry.get(field)
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f"no text in `{field}`")
    return value.strip()


def read_prompt(text: str) -> str:
    """The question, without the place of its video where that is at the beginning, which is where ours is by itself.

    Raises Unusable for several places, or for nothing but a place.
    """
    places = _PLACEHOLDERS.findall(text)
    if len(places) > 1:
        raise Unusable("a prompt with several places for a video")
    first = _PLACEHOLDERS.match(text.strip()) is not None
    text = _PLACEHOLDERS.sub("" if first else f"{VIDEO_PLACEHOLDER} ", text).strip()
    if not text.replace(VIDEO_PLACEHOLDER, "").strip():
        raise Unusable("a prompt without words")
    return text


def read_paths(value: Any) -> tuple[str, ...]:
    """Media as files of pairs name them: a path, {"path": ...} or {"url": ...}, or a list of these; none for null.

    Raises Unusable for what is no path.
    """
    items = value if isinstance(value, list) else [] if value is None else [value]
    paths = []
    for item in items:
        if isinstance(item, dict):
            item = item.get("path") or item.get("url")
        if not isinstance(item, str) or not item.strip():
            raise Unusable("a video or image that is no path", f"{item!r:.60}")
        if re.match(r"(?:https?|data|ftp|s3)://|data:", item):
            raise Unusable("a video or image on the web or in the text, not in a file", f"{item:.60}")
        paths.append(item.removeprefix("file://"))
    return tuple(paths)


def read_video(videos: tuple[str, ...], images: tuple[str, ...], images_are_frames: bool) -> Video:
    """The one video of a pair. Raises Unusable for none, several, or images that nobody said are its frames."""
    if images and videos:
        raise Unusable("images beside a video")
    if len(videos) > 1:
        raise Unusable("several videos")
    if videos:
        return videos[0]
    if not images:
        raise Unusable("no video")
    if len(images) == 1:
        raise Unusable("one image, no video")
    if not images_are_frames:
        raise Unusable("images instead of a video (--images-are-frames takes them as the frames of one)")
    return images
