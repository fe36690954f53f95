"""The host's dataset processor for a `stage: vistadpo` run: rows checked, answers tokenized, nothing decoded.

Prompts are tokenized when a view is made (their video tokens depend on it), answers here, once.
"""

from __future__ import annotations

import base64
import functools
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from llamafactory.data.processor.processor_utils import DatasetProcessor
from llamafactory.extras.constants import IMAGE_PLACEHOLDER
from PIL import Image

from vistadpo_plugin.data.rows.converter import VISTA_COLUMN
from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import FIELD_OF, Row, RowError, parse_row
from vistadpo_plugin.data.rows.values import VIDEO_PLACEHOLDER, rejected_name
from vistadpo_plugin.data.tokens.control_tokens import AddedTokens
from vistadpo_plugin.data.tokens.phrases import NoPlace, phrase_places
from vistadpo_plugin.data.video.settings import video_settings

ANSWERS = ("chosen", "rejected", "irrelevant")
"""The answers that have a column of their own; the others of a list are in `more_rejected`."""

_BASE64 = "base64"


def answer_ids(row: dict[str, Any]) -> dict[str, list[int]]:
    """Tokens of every answer that a processed row has, by the names under which they are scored."""
    ids = {name: row[f"{name}_ids"] for name in ANSWERS if row[f"{name}_ids"]}
    more = json.loads(row["more_rejected"] or "[]")
    return ids | {rejected_name(place): one for place, one in enumerate(more, start=1)}


def rejected_weights(row: dict[str, Any]) -> list[float]:
    """Weights of a processed row's rejected answers, the irrelevant one aside; they add up to 1."""
    return json.loads(row["rejected_weights"] or "[1.0]")


def outside_phrases(row: dict[str, Any]) -> dict[str, frozenset[int]]:
    """Places of a processed row's answer tokens that are outside of the phrases of their answer; by answer, those
    without phrases aside."""
    ids = answer_ids(row)
    inside = json.loads(row["phrases"] or "{}")
    return {name: frozenset(range(len(ids[name]))).difference(places) for name, places in inside.items()}


def own_media(row: Mapping[str, Any], kind: str) -> list[Any]:
    """The row's own `images` or `videos` as the host's plugins take them; none where it has `grounded`.

    Columns hold JSON, as the first rows settle their types, and of those many have no media.
    """
    return json.loads(row[kind], object_hook=_bytes_of) if row[kind] else []


def _media_json(media: list[Any] | None) -> str:
    return json.dumps(media, default=_without_bytes) if media else ""


def _without_bytes(value: Any) -> dict[str, Any]:
    """Of media out of tables what JSON has no form for: encoded images, and those that the datasets library opened."""
    if isinstance(value, bytes):
        return {_BASE64: base64.b64encode(value).decode()}
    if isinstance(value, Image.Image):
        value.save(encoded := io.BytesIO(), "png")
        return {"path": None, "bytes": encoded.getvalue()}
    raise TypeError(f"media cannot be a {type(value).__name__}")


def _bytes_of(made: dict[str, Any]) -> Any:
    return base64.b64decode(made[_BASE64]) if made.keys() == {_BASE64} else made


class VistaDatasetProcessor(DatasetProcessor):
    """Turn rows into the columns below. A row that cannot be used keeps its place, with `error` set.

    | column | what |
    |---|---|
    | where | the place of the row, as in `rows.jsonl:12 (id 7)` |
    | grounded | GroundedRow as JSON; empty for rows without exactly one video (text, images, several videos) |
    | prompt | JSON of {messages, system, tools} |
    | images, videos | JSON of the media of a row that has no `grounded`, see `own_media`; empty where it has none |
    | chosen_ids, rejected_ids, irrelevant_ids | answer tokens with the end-of-sequence token; empty: no such answer |
    | more_rejected | JSON of the further lists of answer tokens of a row with several rejected answers; else empty |
    | rejected_weights | JSON of the weights of all its rejected answers, the first included; else empty |
    | phrases | JSON: by answer the places of its tokens that belong to its phrases; empty for a row without any |
    | text_tokens | tokens of the prompt without its video |
    | added_tokens | JSON of `control_tokens.FoundTokens`: what in the row's texts is more than text to the model |
    | error | why the row cannot be used; empty for a good row |
    """

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = defaultdict(list)
        for index in range(len(next(iter(examples.values())))):
            example = {name: values[index] for name, values in examples.items()}
            try:
                processed = self._process(example)
            except RowError as error:
                processed = {"where": error.where, "error": error.message}
            for name, empty in COLUMNS.items():
                columns[name].append(processed.get(name, empty))
        for name in ANSWERS:
            # The type of a column is that of its first batch, and a batch without such an answer would have none.
            columns[f"{name}_ids"] = [np.asarray(ids, dtype=np.int64) for ids in columns[f"{name}_ids"]]
        return columns

    def _process(self, example: dict[str, Any]) -> dict[str, Any]:
        if example.get(VISTA_COLUMN) is not None:
            source = json.loads(example[VISTA_COLUMN])
            row = parse_row(source["row"], source["where"])
            messages = [{"role": "user", "content": row.prompt}]
            return self._columns(row.where, row, messages, row.answers)
        return self._process_host_row(example)

    def _process_host_row(self, example: dict[str, Any]) -> dict[str, Any]:
        """A plain preference row of one of the host's formats: no grounding at all, the video (if any) is enough."""
        messages, response = example["_prompt"] or [], example["_response"] or []
        question = messages[-1]["content"][:60] if messages else ""
        where = f"preference row {question!r}"
        if len(messages) % 2 != 1 or len(response) < 2:
            raise RowError(where, "needs a question and two answers, chosen first.")
        if example["_audios"]:
            raise RowError(where, "has audio, which stage vistadpo does not score.")
        answers = [message["content"] for message in response[:2]]
        if not all(answer.strip() for answer in answers):
            raise RowError(where, "has an empty answer.")
        images, videos = example["_images"] or [], example["_videos"] or []
        text = " ".join(message["content"] for message in messages)
        for placeholder, media in ((VIDEO_PLACEHOLDER, videos), (IMAGE_PLACEHOLDER, images)):
            if text.count(placeholder) != len(media):
                raise RowError(
                    where, f"has {text.count(placeholder)} {placeholder} in its prompt but {len(media)} files."
                )
        row = None
        frames = videos[0] if len(videos) == 1 and not images else None
        if isinstance(frames, str) or (isinstance(frames, list) and all(isinstance(frame, str) for frame in frames)):
            video = frames if isinstance(frames, str) else tuple(frames)
            row = Row(where, where, video, messages[-1]["content"], *answers)
            videos = []
        answers = dict(zip(ANSWERS, answers, strict=False))
        return self._columns(where, row, messages, answers, example["_system"], example["_tools"], images, videos)

    def _columns(
        self,
        where: str,
        row: Row | None,
        messages: list[dict[str, str]],
        answers: dict[str, str],
        system: str | None = None,
        tools: str | None = None,
        images: list[Any] | None = None,
        videos: list[Any] | None = None,
    ) -> dict[str, Any]:
        """The columns of a good row; `answers` by the names under which they are scored."""
        self._refuse_wrong_input(where, messages, images or [], [row.video] if row is not None else videos or [])
        fps = video_settings(self.processor)["video_fps"]
        grounded = None if row is None else ground(row, self.data_args.media_dir, fps)
        ids = {}
        for name, answer in answers.items():
            turn = [{"role": "assistant", "content": answer}]
            prompt_ids, answer_ids = self.template.encode_oneturn(self.tokenizer, messages + turn, system, tools)
            ids[name] = answer_ids + [self.tokenizer.eos_token_id] * self.template.efficient_eos
        more = [found for name, found in ids.items() if name not in ANSWERS]
        placeholder = self.tokenizer.encode(VIDEO_PLACEHOLDER, add_special_tokens=False)
        return {
            "where": where,
            "grounded": grounded.to_json() if grounded else "",
            "prompt": json.dumps({"messages": messages, "system": system or "", "tools": tools or ""}),
            "images": _media_json(images),
            "videos": _media_json(videos),
            **{f"{name}_ids": ids.get(name, []) for name in ANSWERS},
            "more_rejected": json.dumps(more) if more else "",
            "rejected_weights": json.dumps(row.rejected_weights) if more else "",
            "phrases": "" if row is None else self._phrases(row, ids),
            "text_tokens": len(prompt_ids) - len(placeholder) * (row is not None),
            "added_tokens": self._added_tokens(messages, answers, system, tools),
        }

    def _phrases(self, row: Row, ids: dict[str, list[int]]) -> str:
        slots = self.template.format_assistant.slots
        try:
            places = {
                name: phrase_places(self.tokenizer, slots, row.answers[name], ids[name], spans)
                for name, spans in row.phrases.items()
            }
        except NoPlace as error:
            raise RowError(row.where, f"`phrases`: {error}", "bad-phrases") from None
        return json.dumps(places) if places else ""

    def _added_tokens(
        self, messages: list[dict[str, str]], answers: dict[str, str], system: str | None, tools: str | None
    ) -> str:
        texts = [("prompt", message["content"]) for message in messages]
        texts += [("system", system or self.template.default_system), ("tools", tools)]
        texts += [(FIELD_OF.get(name, name), text) for name, text in answers.items()]
        found = self._known_tokens.found(texts)
        return json.dumps(found) if found else ""

    @functools.cached_property
    def _known_tokens(self) -> AddedTokens:
        return AddedTokens(self.tokenizer)

    def _refuse_wrong_input(
        self, where: str, messages: list[dict[str, str]], images: list[Any], videos: list[Any]
    ) -> None:
        """Raise RowError for a row of which the host would make wrong numbers with this template."""
        refusal = getattr(self.template.mm_plugin, "refusal", None)
        reason = None if refusal is None else refusal(messages, images, videos)
        if reason is not None:
            raise RowError(where, reason)

    def print_data_example(self, example: dict[str, Any]) -> None:
        """What the host prints of the first row."""
        if example["error"]:
            print(f"unusable row: {example['where']}: {example['error']}")
            return
        print(f"row: {example['where']}\nprompt: {example['prompt']}\ngrounding: {example['grounded'] or 'none'}")
        for name, ids in answer_ids(example).items():
            print(f"{name}: {self.tokenizer.decode(ids, skip_special_tokens=False)}")


COLUMNS: dict[str, Any] = {
    "where": "",
    "grounded": "",
    "prompt": "",
    "images": "",
    "videos": "",
    **{f"{name}_ids": [] for name in ANSWERS},
    "more_rejected": "",
    "rejected_weights": "",
    "phrases": "",
    "text_tokens": 0,
    "added_tokens": "",
    "error": "",
}
