"""Which replies of a model are taken, and what is said of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vistadpo_plugin.annotation.drafting.draft import PIXELS, THOUSANDTHS, read_pixels
from vistadpo_plugin.annotation.drafting.prompts import read_prompts
from vistadpo_plugin.annotation.drafting.reply import read_box, read_drafts, read_letter, schema

DRAFT: dict[str, Any] = {
    "question": "What does the man pick up?",
    "answer": "He picks up a red mug.",
    "wrong_answer": "He picks up a knife.",
    "wrong_kind": "object",
    "off_topic_answer": "A dog runs on a beach.",
    "event": [3, 5.0],
    "keyframe": 4,
    "object": "the red mug",
    "box": [100, 200, 300.5, 400],
}
REPLY = json.dumps({"drafts": [DRAFT]})


def changed(**fields: Any) -> str:
    return json.dumps({"drafts": [{**DRAFT, **fields}]})


@pytest.mark.parametrize(
    "reply", [REPLY, f"```json\n{REPLY}\n```", f" \n```\n{REPLY}\n```\n", json.dumps(json.loads(REPLY), indent=2)]
)
def test_json_is_taken_alone_or_as_one_block(reply: str) -> None:
    (found,), complaints = read_drafts(reply)
    assert not complaints and found.event == [3.0, 5.0] and found.box == [100.0, 200.0, 300.5, 400.0]


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        ("", "no JSON", "Expecting value"),
        ("I see a man.", "no JSON", "Expecting value"),
        (f"Here it is: {REPLY}", "no JSON", "Expecting value"),
        (REPLY[:-3], "no JSON", "Expecting"),
        (f"{REPLY}\n{REPLY}", "no JSON", "Extra data"),
        (REPLY.replace('"box"', '"event": [1, 2], "box"'), "no JSON", 'the key "event" is given twice'),
        ("[" * 100_000, "no JSON", "recursion"),
        ("[]", "schema", "the reply: Input should be an object"),
        ('{"drafts": []}', "schema", "drafts: List should have at least 1 item"),
        (changed(event=3), "schema", "drafts.0.event: Input should be a valid"),
        (changed(event=[1, 2, 3]), "schema", "drafts.0.event: List should have at most 2 items"),
        (changed(event=["1", "2"]), "schema", "drafts.0.event.0: Input should be a valid number"),
        (changed(keyframe=True), "schema", "drafts.0.keyframe: Input should be a valid number"),
        (changed(keyframe=float("nan")), "schema", "drafts.0.keyframe"),
        (changed(keyframe=None), "schema", "drafts.0.keyframe: Input should be a valid number"),
        (changed(wrong_kind="colour"), "schema", "drafts.0.wrong_kind: Input should be 'object', 'attribute'"),
        (changed(question=" \n"), "schema", "drafts.0.question: String should match"),
        (changed(confidence=0.9), "schema", "drafts.0.confidence: Extra inputs are not permitted"),
        (json.dumps({"drafts": [{}]}), "schema", "drafts.0.question: Field required"),
    ],
)  # fmt: skip
def test_what_the_schema_does_not_allow_is_named(reply: str, reason: str, detail: str) -> None:
    found, complaints = read_drafts(reply)
    assert not found and all(reason in complaint.reason for complaint in complaints)
    assert detail in " ".join(complaint.detail for complaint in complaints)


def test_half_a_character_is_refused() -> None:
    found, complaints = read_drafts(changed(answer="A \\ud83d").replace("\\\\ud83d", "\\ud83d"))
    assert not found and complaints


def test_boxes_alone() -> None:
    assert read_box('{"box": [1, 2, 3, 4]}') == ([[1.0, 2.0, 3.0, 4.0]], [])
    assert read_box("[1, 2, 3, 4]")[0] == []


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        *[("A", "A"), (" b.\n", "B"), ("**B**", "B"), ('"A"', "A"), ("(A)", "A")],
        *[("A: He does.", None), ("A or B", None), ("", None)],
    ],
)
def test_letters(reply: str, letter: str | None) -> None:
    found, complaints = read_letter(reply)
    assert found == ([letter] if letter else []) and bool(complaints) is (letter is None)


def test_the_model_is_shown_how_a_box_is_given() -> None:
    pack = read_prompts()
    shown = schema("drafts", pack.boxes(PIXELS, (640, 360)))
    box = shown["$defs"]["Drafted"]["properties"]["box"]["description"]
    assert "around that object" in box and "640 wide and 360 high" in box
    assert shown["$defs"]["Drafted"]["required"] == list(DRAFT)


@pytest.mark.parametrize(
    ("corners", "unit", "box"),
    [
        ([250, 500, 500, 1000], THOUSANDTHS, [480.0, 540.0, 480.0, 540.0]),
        ([160, 180, 320, 360], PIXELS, [480.0, 540.0, 480.0, 540.0]),
        ([-5, 0, 1005, 1000], THOUSANDTHS, [0.0, 0.0, 1920.0, 1080.0]),  # rounding at the edge
        ([500, 0, 400, 1000], THOUSANDTHS, None),
        ([500, 0, 500, 1000], THOUSANDTHS, None),
        ([0, 0, 1100, 900], THOUSANDTHS, None),
        ([0, 0, 960, 540], PIXELS, None),  # of another picture
    ],
)
def test_boxes_become_pixels_of_the_frame(corners: list[float], unit: str, box: list[float] | None) -> None:
    """A frame of 1920x1080 that was sent as 640x360."""
    assert read_pixels(corners, (1920, 1080), (640, 360), unit) == box


def test_who_changes_the_words_raises_the_version() -> None:
    """Cards name both: the same version is the same words for good."""
    known = {1: "f77c69fca65772932b1b2e42a6d81ce0c3aefb4fb5dc5fd446c7014c44fd74c8"}
    pack = read_prompts()
    assert pack.sha256 == known[pack.version]
