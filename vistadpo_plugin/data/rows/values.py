"""The values of a row's fields, one at a time: JSON in; text, paths, times or boxes out, or a `RowError`.

How fields go together, and which there are, is `schema`'s. `where` names the row's place in the errors.
"""

from __future__ import annotations

import re
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.data.video.video import IMAGE_SUFFIXES

VIDEO_PLACEHOLDER = "<video>"
_OTHER_PLACEHOLDERS = ("<image>", "<audio>")

Video = str | tuple[str, ...]
"""A file, a folder of frames, or a list of frames."""

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the original frame as players show it; (x, y) is the top-left corner."""

Span = tuple[int, int]
"""Characters of a text, from the first to the one behind the last."""

VIEW_TERMS = ("video", "clip", "object")
"""The terms that hold a preferred view against a rejected one."""

NO_AREA = "a box has no area and is left out"
# What weights that are rounded to two places may miss 1 by, as three times 0.33 does.
_OFF_ONE = 0.015


class RowError(ValueError):
    """A row that cannot be used. The message says where, which field, what is wrong and what to do.

    `kind` is the name of the error in the table of docs/data.md, where `vistadpo validate` can find it.
    """

    def __init__(self, where: str, message: str, kind: str | None = None):
        super().__init__(f"{where}: {message}")
        self.where, self.message, self.kind = where, message, kind


def identifier(value: Any, where: str) -> str:
    """Text or a whole number, as text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(where, f"`id` must be a string or a whole number, not {value!r}.", "bad-id")
    return str(value)


def group(value: Any, where: str) -> str | None:
    """The recording's name: text or a whole number, as text."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise RowError(
            where,
            f"`group` names the recording that the video is of: text or a whole number, not {_short(value)}.",
            "bad-group",
        )
    return str(value)


def holds(value: Any, where: str) -> tuple[str, ...]:
    """True, false, or a list of terms -> the terms in whose rejected view the chosen answer stays true."""
    if value is None or isinstance(value, bool):
        return VIEW_TERMS if value else ()
    if isinstance(value, list) and all(term in VIEW_TERMS for term in value):
        return tuple(term for term in VIEW_TERMS if term in value)
    raise RowError(
        where,
        f"`holds_in_rejected_view` must be true, false, or a list of {', '.join(VIEW_TERMS)}, not {_short(value)}.",
        "bad-holds",
    )


def video(value: Any, where: str) -> Video:
    """A path, or a list of paths of frames."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(frame, str) and frame for frame in value):
        return tuple(value)
    if value is None:
        raise RowError(where, "`video` is missing; give a file, a folder of frames or a list of frames.", "bad-video")
    raise RowError(
        where, f"`video` must be a file, a folder of frames or a list of frames, not {_short(value)}.", "bad-video"
    )


def videos(value: Any, name: str, where: str) -> tuple[Video, ...]:
    """One video or several: a list of images is one, any other list is several, each a path or a list of images."""
    if value is None:
        return ()
    items = [value] if isinstance(value, str) or _are_images(value) else value
    if isinstance(items, list) and items and all(_are_images(item) or _is_path(item) for item in items):
        return tuple(item if isinstance(item, str) else tuple(item) for item in items)
    raise RowError(
        where,
        f"`{name}` must be a video (a file, a folder of frames or a list of images) or a list of videos, "
        f"not {_short(value)}.",
        "bad-rejected-view",
    )


def images(value: Any, name: str, where: str) -> tuple[str, ...]:
    """The path of an image or of a folder of them, or a list of such paths."""
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, str) and item for item in items):
        return tuple(items)
    raise RowError(
        where,
        f"`{name}` must be the path of an image or of a folder of images, or a list of paths, not {_short(value)}.",
        "bad-rejected-view",
    )


def _are_images(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and _is_image(item) for item in value)


def _is_path(value: Any) -> bool:
    """Of a video: what is named as an image is one of a list's images, and no video among others."""
    return isinstance(value, str) and bool(value) and not _is_image(value)


def _is_image(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES)


def _text(value: Any, name: str, where: str) -> str:
    if value is None:
        raise RowError(where, f"`{name}` is missing.", "missing-text")
    if not isinstance(value, str):
        raise RowError(where, f"`{name}` must be a string, not {_short(value)}.", "bad-text")
    if not value.strip():
        raise RowError(where, f"`{name}` is empty; every row needs text there.", "missing-text")
    for placeholder in _OTHER_PLACEHOLDERS:
        if placeholder in value:
            raise RowError(
                where,
                f"`{name}` contains {placeholder}; a VistaDPO row is about one video and nothing else.",
                "bad-placeholder",
            )
    return value


def prompt(value: Any, where: str) -> str:
    """The prompt with exactly one video placeholder; put first, on a line of its own, where the author wrote none."""
    text = _text(value, "prompt", where)
    count = text.count(VIDEO_PLACEHOLDER)
    if count > 1:
        raise RowError(
            where,
            f"`prompt` contains {VIDEO_PLACEHOLDER} {count} times; once, or not at all, is expected.",
            "bad-placeholder",
        )
    return text if count else f"{VIDEO_PLACEHOLDER}\n{text}"


def answer(value: Any, name: str, where: str) -> str:
    text = _text(value, name, where)
    if VIDEO_PLACEHOLDER in text:
        raise RowError(where, f"`{name}` contains {VIDEO_PLACEHOLDER}; answers are text only.", "bad-placeholder")
    return text


def rejected_name(place: int) -> str:
    """The name of an answer in `rejected`, where that is a list: `rejected`, `rejected[1]`, `rejected[2]` ..."""
    return f"rejected[{place}]" if place else "rejected"


def rejected(value: Any, weights: Any, where: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """One wrong answer or a list of them, and their weights, which are equal where none are given."""
    if not isinstance(value, list):
        if weights is not None:
            raise RowError(
                where, "`rejected_weights` weighs the answers of a list; `rejected` is none. Remove it.", "bad-weights"
            )
        return (answer(value, "rejected", where),), (1.0,)
    if not value:
        raise RowError(where, "`rejected` is an empty list; every row needs a wrong answer.", "missing-text")
    texts = tuple(answer(one, rejected_name(place), where) for place, one in enumerate(value))
    if weights is None:
        return texts, (1 / len(texts),) * len(texts)
    numbers = _numbers(weights, len(texts))
    if numbers is None or min(numbers) <= 0 or abs(sum(numbers) - 1) > _OFF_ONE:
        raise RowError(
            where,
            f"`rejected_weights` must be a number above 0 for each of the {len(texts)} answers in `rejected`, and "
            f"together 1, not {_short(weights)}.{_unquote(weights)}",
            "bad-weights",
        )
    return texts, numbers


def phrases(value: Any, answers: dict[str, str], where: str) -> dict[str, tuple[Span, ...]]:
    """By answer the phrases that are marked in it; `answers` are the row's, by the names of their fields.

    A phrase is a text that its answer holds once, or [start, end) in characters.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(items, list) for items in value.values()):
        raise RowError(
            where,
            '`phrases` must give lists of phrases by answer, as in {"chosen": ["a red mug"], "rejected": ["a knife"]}, '
            f"not {_short(value)}.",
            "bad-phrases",
        )
    for name in value:
        if name not in answers:
            raise RowError(
                where,
                f"`phrases` names {_short(name)}, which is no answer of the row; it has {', '.join(answers)}.",
                "bad-phrases",
            )
    found = {name: tuple(_span(item, name, answers[name], where) for item in items) for name, items in value.items()}
    return {name: spans for name, spans in found.items() if spans}


def _span(value: Any, name: str, text: str, where: str) -> Span:
    if isinstance(value, str) and value.strip():
        start = text.find(value)
        if start < 0:
            raise RowError(
                where,
                f"`phrases`: `{name}` does not contain {_short(value)}; copy the phrase from the answer to the letter.",
                "bad-phrases",
            )
        if text.rfind(value) != start:
            raise RowError(
                where,
                f"`phrases`: `{name}` contains {_short(value)} several times; take words before or behind it into the "
                "phrase, or give [start, end], the characters from which and up to which it goes.",
                "bad-phrases",
            )
        return start, start + len(value)
    whole = isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value)
    if whole and 0 <= value[0] < value[1] <= len(text) and text[value[0] : value[1]].strip():
        return value[0], value[1]
    raise RowError(
        where,
        f"`phrases`: a phrase is a text that is in its answer once, or [start, end] in characters, start counted from "
        f"0 and end not included; `{name}` has {len(text)} characters, and {_short(value)} is neither.",
        "bad-phrases",
    )


def _number(value: Any) -> float | None:
    return float(value) if is_finite_number(value) else None


def _numbers(value: Any, length: int) -> tuple[float, ...] | None:
    if not isinstance(value, list | tuple) or len(value) != length:
        return None
    numbers = [_number(item) for item in value]
    return None if None in numbers else tuple(numbers)  # type: ignore[arg-type]


def events(value: Any, where: str) -> tuple[tuple[float, float], ...]:
    """[start, end] or a list of them -> sorted, merged intervals in seconds."""
    if value is None:
        return ()
    pairs = [value] if _numbers(value, 2) else value
    parsed = [_numbers(pair, 2) for pair in pairs] if isinstance(pairs, list | tuple) else []
    if not parsed or None in parsed:
        raise RowError(
            where,
            f"`event` must be [start, end] in seconds, or a list of such pairs, not {_short(value)}.{_unquote(value)}",
            "bad-event",
        )
    for start, end in parsed:  # type: ignore[misc]
        if start < 0 or end <= start:
            raise RowError(
                where, f"`event` [{start:g}, {end:g}] must start at 0 or later and end after it starts.", "bad-event"
            )
    merged: list[tuple[float, float]] = []
    for start, end in sorted(parsed):  # type: ignore[type-var]
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def keyframe(value: Any, where: str) -> float | str | None:
    """Seconds on a player's clock, or the path of an image or of a folder of images."""
    seconds = _spelled_time(value)
    if seconds is not None:
        raise RowError(
            where,
            f'`keyframe` is the text "{value}"; write seconds as a number without quotes: "keyframe": {seconds:g}. '
            f'(A folder of images of that name: "./{value}".)',
            "bad-keyframe",
        )
    if value is None or (isinstance(value, str) and value):
        return value
    seconds = _number(value)
    if seconds is None or seconds < 0:
        raise RowError(
            where,
            f"`keyframe` must be seconds (0 or later) or the path of an image, not {_short(value)}.",
            "bad-keyframe",
        )
    return seconds


_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)(?: ?s(?:ec(?:onds?)?)?)?")


def _spelled_time(value: Any) -> float | None:
    """The seconds that a text spells: "12", "12.5 s", "1:02.5"; None for what is no such text, as a path."""
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def _unquote(value: Any) -> str:
    """What to add to an error about numbers, where there are texts that spell some."""
    items = [value]
    while any(isinstance(item, list | tuple) for item in items):
        items = [part for item in items for part in (item if isinstance(item, list | tuple) else [item])]
    return " Write numbers without quotes." if any(_spelled_time(item) is not None for item in items) else ""


_BBOX_ITEM = re.compile(r"""['"]?(\w+)['"]?\s*:\s*([^,]+)""")


def boxes(value: Any, where: str) -> tuple[tuple[Box, ...], list[str]]:
    """One box, several, a {x, y, w, h} mapping, or the released sample's string of one -> boxes that have an area."""
    if value is None:
        return (), []
    items = value if isinstance(value, list | tuple) and not _numbers(value, 4) else [value]
    kept, notes = [], []
    for item in items:
        box = read_box(item)
        if box is None:
            raise RowError(
                where,
                f"`box` must be [x, y, width, height] in pixels, or a list of such, not {_short(value)}."
                f"{_unquote(value)}",
                "bad-box",
            )
        if box[2] <= 0 or box[3] <= 0:
            notes.append(NO_AREA)
        else:
            kept.append(box)
    return tuple(kept), notes


def read_box(item: Any) -> Box | None:
    """One box in any spelling: [x, y, w, h], a mapping, the released sample's string of one. None for what is none."""
    if isinstance(item, str):
        item = {name: _parse_float(number) for name, number in _BBOX_ITEM.findall(item.strip().strip("{}"))}
    if isinstance(item, dict):
        if set(item) != {"x", "y", "w", "h"}:
            return None
        item = [item["x"], item["y"], item["w"], item["h"]]
    return _numbers(item, 4)  # type: ignore[return-value]


def _parse_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
