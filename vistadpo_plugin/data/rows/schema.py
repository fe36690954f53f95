"""What a row says, before any file is looked at: JSON in, a validated `Row` out, or a sentence that says what is wrong.

Native fields and the fields of VistaDPO-7k's released sample (`rejected_2`, `bbox`, `clip_w`, `clip_l`, `frame`) are
read alike. README and docs describe them; `FIELDS` is the list.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.data.rows import strict_json

VIDEO_PLACEHOLDER = "<video>"
_OTHER_PLACEHOLDERS = ("<image>", "<audio>")

FIELDS = (
    "id",
    "video",
    "prompt",
    "chosen",
    "rejected",
    "rejected_irrelevant",
    "event",
    "keyframe",
    "box",
    "group",
    # the released sample's own names
    "rejected_2",
    "bbox",
    "clip_w",
    "clip_l",
    "frame",
)
DRAFT_FIELDS = ("kind", "checks", "decide", "source")  # what `vistadpo annotate` adds for who reviews; not read here

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the original frame as players show it; (x, y) is the top-left corner."""


# What a row's notes say. Kept here because the log, `vistadpo validate` and the tests name them.
NO_IRRELEVANT = "the irrelevant rejected answer is empty: its weight moves to `rejected`"
NO_AREA = "a box has no area and is left out"
IGNORED_FIELD = "is not ours and is ignored"


class RowError(ValueError):
    """A row that cannot be used. The message says where, which field, what is wrong and what to do.

    `kind` is the name of the error in the table of docs/data.md, where `vistadpo validate` can find it.
    """

    def __init__(self, where: str, message: str, kind: str | None = None):
        super().__init__(f"{where}: {message}")
        self.where, self.message, self.kind = where, message, kind


@dataclass(frozen=True)
class Row:
    """One grounded preference row as its author wrote it.

    Times are seconds on a player's clock, boxes pixels of the original frame, paths as written. `boxes` are
    those that have an area; `has_box` is true when there were any at all. `notes` are things worth counting once in
    the log ("a box has no area").
    """

    id: str
    where: str
    video: str | tuple[str, ...]
    prompt: str
    chosen: str
    rejected: str
    rejected_irrelevant: str | None = None
    events: tuple[tuple[float, float], ...] = ()
    keyframe: float | str | None = None
    boxes: tuple[Box, ...] = ()
    has_box: bool = False
    clip_chosen: str | None = None
    clip_rejected: str | None = None
    group: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def video_name(self) -> str:
        """The video in a message; of a list of frames the first."""
        return self.video if isinstance(self.video, str) else f"{self.video[0]} ..."


def parse_row(source: Any, where: str) -> Row:
    """Read one row from JSON text or a decoded object; `where` names its place, as in `rows.jsonl:12`.

    Raises RowError.
    """
    if isinstance(source, str):
        try:
            source = strict_json.loads(source)
        except strict_json.RepeatedKey as error:
            raise RowError(where, f"{error}.", "repeated-key") from None
        except (ValueError, RecursionError) as error:  # JSONDecodeError, numbers and nestings beyond Python's limits
            raise RowError(
                where, f"not valid JSON ({error}); one JSON object a line is expected.", "bad-json"
            ) from None
    if not isinstance(source, dict):
        raise RowError(where, f"a row must be a JSON object, this one is a {type(source).__name__}.", "bad-json")
    row = {key: value for key, value in source.items() if value is not None and not _is_empty_grounding(key, value)}
    _check_characters(row, where)
    where = f"{where} (id {row['id']})" if isinstance(row.get("id"), str | int) else where
    notes = _unknown_fields(row, where)

    boxes, box_notes = _boxes(_one_of(row, "box", "bbox", where), where)
    irrelevant = _one_of(row, "rejected_irrelevant", "rejected_2", where)
    if isinstance(irrelevant, str) and not irrelevant.strip():
        irrelevant = None
        notes.append(NO_IRRELEVANT)
    for name in ("clip_w", "clip_l", "frame"):
        if name in row and not (isinstance(row[name], str) and row[name]):
            raise RowError(where, f"`{name}` must be the path of a folder, not {row[name]!r}.", "bad-folder")
    if ("clip_w" in row) != ("clip_l" in row):
        raise RowError(where, "`clip_w` and `clip_l` go together; give both folders or neither.", "conflicting-fields")
    if "clip_w" in row and "event" in row:
        raise RowError(
            where, "`event` and `clip_w`/`clip_l` both say where the clip is; keep one of them.", "conflicting-fields"
        )

    return Row(
        id=_identifier(row, where),
        where=where,
        video=_video(row, where),
        prompt=_prompt(row, where),
        chosen=_answer(row.get("chosen"), "chosen", where),
        rejected=_answer(row.get("rejected"), "rejected", where),
        rejected_irrelevant=None if irrelevant is None else _answer(irrelevant, "rejected_irrelevant", where),
        events=_events(row.get("event"), where),
        keyframe=_keyframe(row, where),
        boxes=boxes,
        has_box=bool(boxes or box_notes),
        clip_chosen=row.get("clip_w"),
        clip_rejected=row.get("clip_l"),
        group=_group(row, where),
        notes=tuple(notes + box_notes),
    )


def _is_empty_grounding(name: str, value: Any) -> bool:
    """No events, or no boxes: as good as no field."""
    return name in ("event", "box", "bbox") and value == []


def _check_characters(row: dict[str, Any], where: str) -> None:
    """JSON can spell half of a surrogate pair, which is no character: no tokenizer and no file name takes it."""
    for name, value in row.items():
        for text in (name, *(value if isinstance(value, list) else [value])):
            if isinstance(text, str) and not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError:
                    raise RowError(
                        where, f"`{name!a}` holds half a surrogate pair, which is no character.", "bad-characters"
                    ) from None


def _unknown_fields(row: dict[str, Any], where: str) -> list[str]:
    """Refuse fields that look like misspelt ones; other unknown fields are the author's own and only noted."""
    notes = []
    for name in row:
        if name in FIELDS or name in DRAFT_FIELDS:
            continue
        near = difflib.get_close_matches(name.lower(), FIELDS, n=1, cutoff=0.82)
        near += [field for field in FIELDS if name.lower() in (field + "s", field + "es")]
        if near:
            raise RowError(
                where,
                f"unknown field `{name}`; did you mean `{near[0]}`? Known: {', '.join(FIELDS)}.",
                "misspelt-field",
            )
        notes.append(f"field `{name}` {IGNORED_FIELD}")
    return notes


def _one_of(row: dict[str, Any], native: str, released: str, where: str) -> Any:
    if native in row and released in row:
        raise RowError(
            where, f"`{native}` and `{released}` are two names of one field; keep one of them.", "conflicting-fields"
        )
    return row.get(native, row.get(released))


def _identifier(row: dict[str, Any], where: str) -> str:
    value = row.get("id", where)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(where, f"`id` must be a string or a whole number, not {value!r}.", "bad-id")
    return str(value)


def _group(row: dict[str, Any], where: str) -> str | None:
    value = row.get("group")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise RowError(
            where,
            f"`group` names the recording that the video is of: text or a whole number, not {_short(value)}.",
            "bad-group",
        )
    return str(value)


def _video(row: dict[str, Any], where: str) -> str | tuple[str, ...]:
    value = row.get("video")
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(frame, str) and frame for frame in value):
        return tuple(value)
    if value is None:
        raise RowError(where, "`video` is missing; give a file, a folder of frames or a list of frames.", "bad-video")
    raise RowError(
        where, f"`video` must be a file, a folder of frames or a list of frames, not {_short(value)}.", "bad-video"
    )


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


def _prompt(row: dict[str, Any], where: str) -> str:
    """The prompt with exactly one video placeholder; put first, on a line of its own, where the author wrote none."""
    prompt = _text(row.get("prompt"), "prompt", where)
    count = prompt.count(VIDEO_PLACEHOLDER)
    if count > 1:
        raise RowError(
            where,
            f"`prompt` contains {VIDEO_PLACEHOLDER} {count} times; once, or not at all, is expected.",
            "bad-placeholder",
        )
    return prompt if count else f"{VIDEO_PLACEHOLDER}\n{prompt}"


def _answer(value: Any, name: str, where: str) -> str:
    answer = _text(value, name, where)
    if VIDEO_PLACEHOLDER in answer:
        raise RowError(where, f"`{name}` contains {VIDEO_PLACEHOLDER}; answers are text only.", "bad-placeholder")
    return answer


def _number(value: Any) -> float | None:
    return float(value) if is_finite_number(value) else None


def _numbers(value: Any, length: int) -> tuple[float, ...] | None:
    if not isinstance(value, list | tuple) or len(value) != length:
        return None
    numbers = [_number(item) for item in value]
    return None if None in numbers else tuple(numbers)  # type: ignore[arg-type]


def _events(value: Any, where: str) -> tuple[tuple[float, float], ...]:
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


def _keyframe(row: dict[str, Any], where: str) -> float | str | None:
    value = _one_of(row, "keyframe", "frame", where)
    seconds = _spelled_time(row.get("keyframe"))
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


def _boxes(value: Any, where: str) -> tuple[tuple[Box, ...], list[str]]:
    """One box, several, a {x, y, w, h} mapping, or the released sample's string of one -> boxes that have an area."""
    if value is None:
        return (), []
    items = value if isinstance(value, list | tuple) and not _numbers(value, 4) else [value]
    boxes, notes = [], []
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
            boxes.append(box)
    return tuple(boxes), notes


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
