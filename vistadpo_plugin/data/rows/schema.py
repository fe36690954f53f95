"""What a row says, before any file is looked at: JSON in, a validated `Row` out, or a sentence that says what is wrong.

Native fields and the fields of VistaDPO-7k's released sample (`rejected_2`, `bbox`, `clip_w`, `clip_l`, `frame`) are
read alike. README and docs describe them; `FIELDS` is the list.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from vistadpo_plugin.data.rows import strict_json, values
from vistadpo_plugin.data.rows.values import Box, RowError, Span, Video

FIELDS = (
    "id",
    "video",
    "prompt",
    "chosen",
    "rejected",
    "rejected_weights",
    "rejected_irrelevant",
    "phrases",
    "event",
    "keyframe",
    "box",
    "rejected_video",
    "rejected_clip",
    "rejected_keyframe",
    "holds_in_rejected_view",
    "group",
    # the released sample's own names
    "rejected_2",
    "bbox",
    "clip_w",
    "clip_l",
    "frame",
)
DRAFT_FIELDS = ("kind", "checks", "decide", "source")  # what `vistadpo annotate` adds for who reviews; not read here

# What a row's notes say. Kept here because the log, `vistadpo validate` and the tests name them.
NO_IRRELEVANT = "the irrelevant rejected answer is empty: its weight moves to `rejected`"
IGNORED_FIELD = "is not ours and is ignored"


FIELD_OF = {"irrelevant": "rejected_irrelevant"}
"""Of an answer that is scored under another name than its field's."""


@dataclass(frozen=True)
class Row:
    """One grounded preference row as its author wrote it.

    Times are seconds on a player's clock, boxes pixels of the original frame, paths as written. `boxes` are
    those that have an area; `has_box` is true when there were any at all. Where `rejected` is a list, `more_rejected`
    are all but its first; `rejected_weights` are those of the whole list, and add up to 1. `phrases` are the characters
    that are marked in answers, by the names under which those are scored. `rejected_videos`, `rejected_clips` and
    `rejected_keyframes` are rejected views of the row's own, any number of them; `holds` names the terms in whose
    rejected view `chosen` stays true. `notes` are things worth counting once in the log ("a box has no area").
    """

    id: str
    where: str
    video: Video
    prompt: str
    chosen: str
    rejected: str
    more_rejected: tuple[str, ...] = ()
    rejected_weights: tuple[float, ...] = (1.0,)
    rejected_irrelevant: str | None = None
    phrases: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    events: tuple[tuple[float, float], ...] = ()
    keyframe: float | str | None = None
    boxes: tuple[Box, ...] = ()
    has_box: bool = False
    clip_chosen: str | None = None
    clip_rejected: str | None = None
    rejected_videos: tuple[Video, ...] = ()
    rejected_clips: tuple[Video, ...] = ()
    rejected_keyframes: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    group: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def answers(self) -> dict[str, str]:
        """Its answers by the names under which they are scored."""
        rejected = {
            values.rejected_name(place): text for place, text in enumerate((self.rejected, *self.more_rejected))
        }
        found = {"chosen": self.chosen, **rejected}
        return found if self.rejected_irrelevant is None else found | {"irrelevant": self.rejected_irrelevant}

    @property
    def texts(self) -> dict[str, str]:
        """Prompt and answers by the names of their fields."""
        return {"prompt": self.prompt} | {FIELD_OF.get(name, name): text for name, text in self.answers.items()}

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

    boxes, box_notes = values.boxes(_one_of(row, "box", "bbox", where), where)
    irrelevant = _one_of(row, "rejected_irrelevant", "rejected_2", where)
    if isinstance(irrelevant, str) and not irrelevant.strip():
        irrelevant = None
        notes.append(NO_IRRELEVANT)
    for name in ("clip_w", "clip_l", "frame"):
        if name in row and not (isinstance(row[name], str) and row[name]):
            raise RowError(where, f"`{name}` must be the path of a folder, not {row[name]!r}.", "bad-folder")
    rejected_clip = _one_of(row, "rejected_clip", "clip_l", where)
    if ("clip_w" in row) != (rejected_clip is not None) and ("clip_w" in row or "clip_l" in row):
        raise RowError(
            where,
            "`clip_w` and `clip_l` go together; give both folders or neither (`rejected_clip` may stand for `clip_l`).",
            "conflicting-fields",
        )
    if "clip_w" in row and "event" in row:
        raise RowError(
            where, "`event` and `clip_w`/`clip_l` both say where the clip is; keep one of them.", "conflicting-fields"
        )

    read = Row(
        id=values.identifier(row.get("id", where), where),
        where=where,
        video=values.video(row.get("video"), where),
        prompt=values.prompt(row.get("prompt"), where),
        chosen=values.answer(row.get("chosen"), "chosen", where),
        **_rejected(row, where),
        rejected_irrelevant=None if irrelevant is None else values.answer(irrelevant, "rejected_irrelevant", where),
        events=values.events(row.get("event"), where),
        keyframe=_keyframe(row, where),
        boxes=boxes,
        has_box=bool(boxes or box_notes),
        clip_chosen=row.get("clip_w"),
        clip_rejected=row.get("clip_l"),
        rejected_videos=values.videos(row.get("rejected_video"), "rejected_video", where),
        rejected_clips=values.videos(row.get("rejected_clip"), "rejected_clip", where),
        rejected_keyframes=values.images(row.get("rejected_keyframe"), "rejected_keyframe", where),
        holds=values.holds(row.get("holds_in_rejected_view"), where),
        group=values.group(row.get("group"), where),
        notes=tuple(notes + box_notes),
    )
    return replace(read, phrases=_phrases(row.get("phrases"), read))


_MAY_BE_EMPTY = ("event", "box", "bbox", "rejected_video", "rejected_clip", "rejected_keyframe")


def _is_empty_grounding(name: str, value: Any) -> bool:
    """No events, no boxes, no rejected views: as good as no field."""
    return name in _MAY_BE_EMPTY and value == []


def _check_characters(row: dict[str, Any], where: str) -> None:
    """JSON can spell half of a surrogate pair, which is no character: no tokenizer and no file name takes it."""
    for name, value in row.items():
        for text in (name, *_items(value)):
            if isinstance(text, str) and not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError:
                    raise RowError(
                        where, f"`{name!a}` holds half a surrogate pair, which is no character.", "bad-characters"
                    ) from None


def _items(value: Any) -> Iterator[Any]:
    """What a list holds, at any depth; the value itself where it is none."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += item
        else:
            yield item


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


def _rejected(row: dict[str, Any], where: str) -> dict[str, Any]:
    texts, weights = values.rejected(row.get("rejected"), row.get("rejected_weights"), where)
    return {"rejected": texts[0], "more_rejected": texts[1:], "rejected_weights": weights}


def _phrases(value: Any, row: Row) -> dict[str, tuple[Span, ...]]:
    names = {FIELD_OF.get(name, name): name for name in row.answers}
    found = values.phrases(value, {name: row.texts[name] for name in names}, row.where)
    return {names[name]: spans for name, spans in found.items()}


def _keyframe(row: dict[str, Any], where: str) -> float | str | None:
    value = _one_of(row, "keyframe", "frame", where)
    return value if "frame" in row else values.keyframe(value, where)
