"""Pairs as other projects write them: what becomes of an entry, which layout its fields tell, and what is left out.

The entries have the fields, and the ways of writing media and turns, that the projects' public code reads and writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.preferences.conversation import SYSTEM_DROPPED
from vistadpo_plugin.datasets.preferences.files import NOT_JSON, SAME_ANSWERS, open_file, read_pairs
from vistadpo_plugin.datasets.preferences.layouts import (
    LAYOUTS,
    MARKS_LOST,
    ONLY_VIDEO_DIFFERS,
    OTHER_QUESTION,
    SAME_VIDEO_ASSUMED,
    TWO_VIDEOS,
    layout_of,
)
from vistadpo_plugin.datasets.preferences.pair import Pair, Unusable

HOUND = {
    "id": "v_1-001",
    "video": "activitynet/v_1-001",
    "prompt": "<video>\nWhat does the man pick up?",
    "answer": "A mug.",
    "chosen": "He picks up a red mug.",
    "rejected": "He picks up a knife. ",
    "chosen_score": 5,
    "rejected_score": 1,
}
RRPO = {
    "question": "<image>\nWhat is the man doing?",
    "answer": "The man is cooking rice.",
    "pred": "The man is washing a car.",
    "answer_masked": "The man is <MASK> cooking rice </MASK>.",
    "pred_masked": "The man is <MASK> washing a car </MASK>.",
    "src": "webvid_qa",
    "sample_id": 0,
    "video": "0001/a.mp4",
}
TEMPLE = {
    "messages": [
        {"role": "user", "content": "<video>Describe the video in detail."},
        {"role": "assistant", "content": "First a dog runs, then it sleeps."},
    ],
    "rejected_response": "First a dog sleeps, then it runs.",
    "videos": ["clips/dog.mp4"],
}
TRL = {"prompt": "What is it?", "chosen": " A cup.", "rejected": " A hat.", "videos": ["a.mp4"]}


def said(user: Any, assistant: Any, *before: dict[str, Any]) -> list[dict[str, Any]]:
    return [*before, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def read(entry: dict[str, Any], images_are_frames: bool = False) -> Pair:
    layout = layout_of(entry)
    assert layout is not None
    return layout.read(entry, images_are_frames)


def test_llava_hound() -> None:
    assert layout_of(HOUND) is LAYOUTS["llava-hound"]
    assert read(HOUND) == Pair(
        "activitynet/v_1-001", "What does the man pick up?", "He picks up a red mug.", "He picks up a knife."
    )


def test_rrpo() -> None:
    """The marks are set off by blanks that the answer has not."""
    pair = read(RRPO)
    assert layout_of(RRPO) is LAYOUTS["rrpo"]
    assert (pair.video, pair.prompt, pair.source) == ("0001/a.mp4", "What is the man doing?", "webvid_qa")
    assert (pair.chosen, pair.rejected) == ("The man is cooking rice.", "The man is washing a car.")
    assert (pair.phrases, pair.notes) == ({"chosen": ["cooking rice"], "rejected": ["washing a car"]}, ())
    training = {name: value for name, value in RRPO.items() if name != "video"} | {"media_path": "/x/a.mp4"}
    assert read(training).video == "/x/a.mp4"


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("The man is <MASK> here </MASK>.", None),
        ("The man is <MASK> washing a car.", None),
        ("The man is washing a car.", []),
        ("The man is<MASK> washing </MASK><MASK>a car.</MASK>", ["washing", "a car."]),
        ("The m<MASK>a</MASK>n is washing <MASK></MASK>a <MASK>c</MASK>ar.", [[5, 6], "c"]),
    ],
)
def test_marks_of_rrpo(text: str, phrases: list[Any] | None) -> None:
    """An answer that is another without its marks, marks that do not close, none, without blanks, within words."""
    pair = read({**RRPO, "pred_masked": text})
    if phrases is None:
        assert (pair.phrases, pair.notes) == ({}, (MARKS_LOST,))
    else:
        marked = {"chosen": ["cooking rice"]} | ({"rejected": phrases} if phrases else {})
        assert (pair.phrases, pair.notes) == (marked, ())


def test_temple_and_ms_swift() -> None:
    """The three ways of ms-swift's documents to write one pair."""
    temple = Pair(
        "clips/dog.mp4",
        "Describe the video in detail.",
        "First a dog runs, then it sleeps.",
        "First a dog sleeps, then it runs.",
    )
    assert layout_of(TEMPLE) is LAYOUTS["swift"] and read(TEMPLE) == temple
    answer = TEMPLE["rejected_response"]
    assert read({**TEMPLE, "rejected_response": [{"role": "assistant", "content": answer}]}) == temple
    without = {name: value for name, value in TEMPLE.items() if name != "rejected_response"}
    whole = {"rejected_messages": said("<video>Describe the video in detail.", answer)}
    assert read({**without, **whole, "rejected_videos": ["clips/dog.mp4"]}) == temple
    assert read({**without, **whole}).notes == (SAME_VIDEO_ASSUMED,)


def test_a_video_of_the_rejected_side() -> None:
    """Also with a rejected response, whose video is the preferred one's unless one is given."""
    other = read({**TEMPLE, "rejected_videos": ["clips/dog_reversed.mp4"]})
    assert (other.video, other.rejected_video) == ("clips/dog.mp4", "clips/dog_reversed.mp4")
    assert other.notes == (TWO_VIDEOS,)
    with pytest.raises(Unusable, match=ONLY_VIDEO_DIFFERS):
        read({**TEMPLE, "rejected_response": None, "rejected_videos": ["clips/dog_reversed.mp4"]})
    parts = {
        "messages": said([{"type": "video", "video": "a.mp4"}, {"type": "text", "text": "What?"}], "A cup."),
        "rejected_messages": said([{"type": "video", "video": "b.mp4"}, {"type": "text", "text": "What?"}], "A hat."),
    }
    assert (read(parts).video, read(parts).prompt, read(parts).rejected_video) == ("a.mp4", "What?", "b.mp4")


def test_trl_plain_and_conversational() -> None:
    """With the prompt apart, in both sides, or both; media in a column or among the parts of the message."""
    pair = Pair("a.mp4", "What is it?", "A cup.", "A hat.")
    turns = {name: [{"role": "assistant", "content": TRL[name]}] for name in ("chosen", "rejected")}
    whole = {name: said("What is it?", TRL[name]) for name in ("chosen", "rejected")}
    parts = [{"type": "video"}, {"type": "text", "text": "What is it?"}]
    named = [{"type": "video", "video": "a.mp4"}, *parts[1:]]
    assert layout_of(TRL) is LAYOUTS["trl"]
    for entry in (
        TRL,
        {**TRL, "prompt": [{"role": "user", "content": "What is it?"}], **turns},
        {**TRL, "prompt": None, **whole},
        {**TRL, **whole},
        {**TRL, "prompt": [{"role": "user", "content": parts}], **turns},
        {"prompt": [{"role": "user", "content": named}], **turns},
        {**TRL, "videos": None, "video": {"path": "a.mp4"}},
    ):
        assert read(entry) == pair


def test_several_images_are_frames_where_the_user_says_so() -> None:
    entry = {**TRL, "prompt": "<image><image>What is it?", "videos": None, "images": ["1.jpg", "2.jpg"]}
    assert read(entry, images_are_frames=True).video == ("1.jpg", "2.jpg")
    assert read(entry, images_are_frames=True).prompt == "What is it?"
    with pytest.raises(Unusable, match="--images-are-frames"):
        read(entry)
    with pytest.raises(Unusable, match="one image, no video"):
        read({**entry, "images": ["1.jpg"]}, images_are_frames=True)


def test_a_place_amid_the_prompt_stays() -> None:
    assert read({**HOUND, "prompt": "Watch <image>\nWho is it?"}).prompt == "Watch <video> Who is it?"
    assert read({**HOUND, "prompt": "Who is it?\n<video>"}).prompt == "Who is it?\n<video>"


SYSTEM = {"role": "system", "content": "Be brief."}
REFUSED = {
    "no video": {**HOUND, "video": []},
    "several videos": {**TEMPLE, "videos": ["a.mp4", "b.mp4"]},
    "images beside a video": {**TEMPLE, "images": ["a.png"]},
    "a video or image on the web": {**TRL, "videos": ["https://x.org/a.mp4"]},
    "a video or image that is no path": {**TRL, "videos": [{"bytes": "abc"}]},
    "several places for a video": {**HOUND, "prompt": "<video> and then <video>?"},
    "a prompt without words": {**HOUND, "prompt": "<video>\n"},
    "no text in `chosen`": {**TRL, "chosen": " "},
    "no text in `pred`": {**RRPO, "pred": 3},
    "no text in `rejected_response`": {**TEMPLE, "rejected_response": ""},
    "`messages` is not one question and one answer": {**TEMPLE, "messages": said("a", "b") + said("c", "d")},
    "`messages` has a message by someone else": {**TEMPLE, "messages": [{"role": "tool", "content": "x"}]},
    "`messages` has a message without a text": {**TEMPLE, "messages": said(None, "b")},
    "a part that is no text, image or video": {**TEMPLE, "messages": said([{"type": "audio", "audio": "a"}], "b")},
    "`messages` is no list of messages": {**TEMPLE, "messages": "hello"},
    OTHER_QUESTION: {**TEMPLE, "rejected_response": None, "rejected_messages": said("Why?", "b")},
    "where the question ends": {**TRL, "prompt": None},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_left_out(reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        read(REFUSED[reason])
    assert reason in str(caught.value)


def test_what_a_row_has_no_place_for_is_noted() -> None:
    assert read({**TEMPLE, "messages": [SYSTEM, *TEMPLE["messages"]]}).notes == (SYSTEM_DROPPED,)


def write(path: Path, *entries: Any) -> Path:
    path.write_text("".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries))
    return path


def test_a_file_is_read_whole_and_accounted_for(tmp_path: Path) -> None:
    path = write(
        tmp_path / "17k.jsonl", HOUND, "{torn", {**HOUND, "rejected": HOUND["chosen"]}, "[1]", {**HOUND, "a": 1}
    )
    account = Account(noun="pair")
    pairs = read_pairs(open_file(path, None), False, account)
    assert list(pairs) == ["17k.jsonl:1", "17k.jsonl:5"]
    assert {pair.source for pair in pairs.values()} == {"activitynet"}
    assert account.read == 5
    assert {reason: [where for where, _ in places] for reason, places in account.left_out.items()} == {
        NOT_JSON: ["17k.jsonl:2", "17k.jsonl:4"],
        SAME_ANSWERS: ["17k.jsonl:3"],
    }


def test_a_json_list_too(tmp_path: Path) -> None:
    path = tmp_path / "temple.json"
    path.write_text(json.dumps([TEMPLE, {**TEMPLE, "videos": ["dog.mp4"]}, {**TEMPLE, "videos": ["/data/dog.mp4"]}]))
    pairs = read_pairs(open_file(path, None), False, Account())
    assert {where: pair.source for where, pair in pairs.items()} == {
        "temple.json[0]": "clips",
        "temple.json[1]": "temple.json",
        "temple.json[2]": "temple.json",
    }


def test_the_layout_is_told_for_a_whole_file(tmp_path: Path) -> None:
    mixed = write(tmp_path / "mixed.jsonl", TRL, TRL, TEMPLE)
    with pytest.raises(ValueError, match=r"entries of several layouts \(trl 2, swift 1\).*--layout"):
        open_file(mixed, None)
    account = Account()
    assert list(read_pairs(open_file(mixed, "trl"), False, account)) == ["mixed.jsonl:1", "mixed.jsonl:2"]
    assert list(account.left_out) == ["no text in `chosen`"]
    ours = write(tmp_path / "host.jsonl", {"conversations": [], "chosen": {}, "rejected": {}, "videos": ["a.mp4"]})
    with pytest.raises(
        ValueError, match=r"the fields conversations, chosen, .* those of no layout .* need no building"
    ):
        open_file(ours, None)
    with pytest.raises(ValueError, match="no pairs"):
        open_file(write(tmp_path / "empty.jsonl"), None)
    with pytest.raises(ValueError, match=r"pairs are read from .jsonl or .json"):
        open_file(tmp_path / "pairs.parquet", None)
