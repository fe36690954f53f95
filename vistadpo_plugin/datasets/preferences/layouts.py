"""The layouts that pairs come in: how each is told by its fields, and how it is read.

Facts are from public code and documents: RifleZhang/LLaVA-Hound-DPO (run_dpo.py), LLaVA-VL/LLaVA-NeXT (train_dpo.py),
pritamqu/RRPO (docs/DATA.md, train_llavavideo.py), lscpku/TEMPLE (convert_to_swift.py), modelscope/ms-swift 4
(Custom-dataset.md, template_inputs.py), huggingface/trl (dataset_formats.md, data_utils.py, dpo_trainer.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vistadpo_plugin.datasets.preferences import facts
from vistadpo_plugin.datasets.preferences.conversation import Exchange, Message, one_exchange, read_messages
from vistadpo_plugin.datasets.preferences.pair import (
    Pair,
    Unusable,
    Video,
    read_paths,
    read_prompt,
    read_text,
    read_video,
)
from vistadpo_plugin.datasets.source import Source

MARKS_LOST = "a marked answer is not the answer without its marks: the pair's phrases are left out"
SAME_VIDEO_ASSUMED = "`rejected_messages` without `rejected_videos`: the rejected side is taken to be about the video"
TWO_VIDEOS = "the rejected answer was given about `rejected_video`"
OTHER_QUESTION = "the rejected side answers another question"
ONLY_VIDEO_DIFFERS = "the two sides differ in their video only: a row needs a rejected answer"


@dataclass(frozen=True)
class Layout:
    """One layout: `told` says of an entry's fields whether they are its, `read` makes a pair of an entry (raises
    Unusable); the flag says that several images are the frames of a video."""

    name: str
    told: Callable[[set[str]], bool]
    read: Callable[[dict[str, Any], bool], Pair]
    facts: Source


def _hound(entry: dict[str, Any], images_are_frames: bool) -> Pair:
    """{id, video, prompt, answer, chosen, rejected, ...}; `answer` is the reference that a language model judged by."""
    video = read_video(read_paths(entry.get("video")), (), images_are_frames)
    prompt = read_prompt(read_text(entry, "prompt"))
    return Pair(video, prompt, read_text(entry, "chosen"), read_text(entry, "rejected"))


def _rrpo(entry: dict[str, Any], images_are_frames: bool) -> Pair:
    """{question, answer, pred, answer_masked, pred_masked, src, sample_id, video}; `media_path` for `video` in its own
    training files. Marked phrases stand between <MASK> and </MASK>."""
    named = read_paths(entry.get("video") or entry.get("media_path"))
    video = read_video(named, (), images_are_frames)
    answers = {"chosen": read_text(entry, "answer"), "rejected": read_text(entry, "pred")}
    marked = {"chosen": entry.get("answer_masked"), "rejected": entry.get("pred_masked")}
    notes: tuple[str, ...] = ()
    try:
        found = {name: _marked(text, answers[name]) for name, text in marked.items() if isinstance(text, str)}
        phrases = {name: parts for name, parts in found.items() if parts}
    except _OtherText:
        phrases, notes = {}, (MARKS_LOST,)
    source = entry.get("src") if isinstance(entry.get("src"), str) and entry["src"].strip() else None
    prompt = read_prompt(read_text(entry, "question"))
    return Pair(video, prompt, **answers, source=source, notes=notes, phrases=phrases)


class _OtherText(Exception):
    """A marked answer that is not the answer."""


def _marked(text: str, answer: str) -> list[str | list[int]]:
    """The phrases of `answer` that stand between <MASK> and </MASK> in `text`, each as its text, or as [start, end]
    where that comes up several times. Marks may be set off by blanks, or take blanks in. Raises _OtherText."""
    places = [place for place, character in enumerate(answer) if not character.isspace()]
    pieces = re.split(r"<MASK>(.*?)</MASK>", text, flags=re.DOTALL)  # every second is marked
    if "".join("".join(pieces).split()) != "".join(answer.split()):
        raise _OtherText
    found: list[str | list[int]] = []
    begun = 0
    for number, piece in enumerate(pieces):
        ended = begun + len("".join(piece.split()))
        if number % 2 and ended > begun:
            start, end = places[begun], places[ended - 1] + 1
            phrase = answer[start:end]
            found.append(phrase if answer.find(phrase) == answer.rfind(phrase) else [start, end])
        begun = ended
    return found


def _swift(entry: dict[str, Any], images_are_frames: bool) -> Pair:
    """{messages, videos, rejected_response | rejected_messages, rejected_videos}. A rejected response, a text or
    messages, is what the last question got instead; its videos are the preferred side's unless they are given."""
    kept = one_exchange(read_messages(entry.get("messages"), "messages"), "messages")
    video, notes, other = _media(entry, "", kept, images_are_frames), kept.notes, kept
    if entry.get("rejected_messages") is not None:
        other = one_exchange(read_messages(entry["rejected_messages"], "rejected_messages"), "rejected_messages")
        notes += other.notes
        if other.prompt != kept.prompt:
            raise Unusable(OTHER_QUESTION)
        rejected = other.answer
    else:
        rejected = _response(entry.get("rejected_response"), kept)
    own = any(entry.get(f"rejected_{kind}") for kind in ("videos", "images"))
    if own or (other is not kept and (other.videos or other.images)):
        rejected_video = _media(entry, "rejected_", other, images_are_frames)
    else:
        rejected_video = video
        notes += (SAME_VIDEO_ASSUMED,) if other is not kept else ()
    if rejected_video == video:
        return Pair(video, kept.prompt, kept.answer, rejected, notes=_once(notes))
    if rejected == kept.answer:
        raise Unusable(ONLY_VIDEO_DIFFERS)
    return Pair(video, kept.prompt, kept.answer, rejected, rejected_video, notes=_once((*notes, TWO_VIDEOS)))


def _response(value: Any, kept: Exchange) -> str:
    if value is None:
        return kept.answer
    if isinstance(value, str):
        if not value.strip():
            raise Unusable("no text in `rejected_response`")
        return value.strip()
    messages = read_messages(value, "rejected_response")
    return one_exchange([Message("user", kept.prompt), *messages], "rejected_response").answer


def _media(entry: dict[str, Any], side: str, exchange: Exchange, images_are_frames: bool) -> Video:
    """The video of a side: of its columns, else of its message."""
    videos, images = (read_paths(entry.get(f"{side}{kind}")) for kind in ("videos", "images"))
    if not (videos or images):
        videos, images = exchange.videos, exchange.images
    return read_video(videos, images, images_are_frames)


def _once(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def _trl(entry: dict[str, Any], images_are_frames: bool) -> Pair:
    """{prompt, chosen, rejected} as texts or as messages, without a prompt where messages hold it; media in `videos`,
    `video`, `images` or `image`, or in parts of a message."""
    sides = {}
    for name in ("chosen", "rejected"):
        sides[name] = one_exchange(_side(entry, name), f"prompt and {name}")
    kept, other = sides["chosen"], sides["rejected"]
    if kept.prompt != other.prompt:
        raise Unusable(OTHER_QUESTION)
    videos = read_paths(entry.get("videos")) + read_paths(entry.get("video"))
    images = read_paths(entry.get("images")) + read_paths(entry.get("image"))
    if not (videos or images):
        videos, images = kept.videos, kept.images
    return Pair(
        read_video(videos, images, images_are_frames),
        kept.prompt,
        kept.answer,
        other.answer,
        notes=_once(kept.notes + other.notes),
    )


def _side(entry: dict[str, Any], name: str) -> list[Message]:
    """The conversation of one side: the prompt's messages, if there are any, and the side's own."""
    prompt, said = entry.get("prompt"), entry.get(name)
    own = read_messages(said, name) if isinstance(said, list) else [Message("assistant", read_text(entry, name))]
    if own and own[0].role != "assistant":  # the prompt is in it, whether it is also given or not
        return own
    if prompt is None:
        raise Unusable("texts without a prompt: where the question ends and the answer begins is not marked")
    if isinstance(prompt, list):
        return read_messages(prompt, "prompt") + own
    return [Message("user", read_text(entry, "prompt")), *own]


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("rrpo", lambda fields: {"question", "answer", "pred"} <= fields, _rrpo, facts.RRPO),
        Layout(
            "swift",
            lambda fields: "messages" in fields and any(name.startswith("rejected_") for name in fields),
            _swift,
            facts.SWIFT,
        ),
        Layout(
            "llava-hound",
            lambda fields: {"prompt", "answer", "chosen", "rejected", "video"} <= fields,
            _hound,
            facts.LLAVA_HOUND,
        ),
        Layout(
            "trl",
            lambda fields: {"chosen", "rejected"} <= fields and "conversations" not in fields,
            _trl,
            facts.TRL,
        ),
    )
}
"""By name; an entry's layout is the first that its fields tell."""


def layout_of(entry: dict[str, Any]) -> Layout | None:
    """The layout that the fields of an entry tell, those that are null aside; None where none is."""
    fields = {name for name, value in entry.items() if value is not None}
    return next((layout for layout in LAYOUTS.values() if layout.told(fields)), None)
