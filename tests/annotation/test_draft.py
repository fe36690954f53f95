"""A model's draft against what it was shown: what becomes a row, and what the model is told about the rest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from vistadpo_plugin.annotation.drafting.draft import Settings, draft_stretch, plan
from vistadpo_plugin.annotation.drafting.footage import Footage
from vistadpo_plugin.annotation.drafting.prompts import read_prompts
from vistadpo_plugin.endpoint import Messages

# Ten seconds from 0.5 s on, 640x360, shown as eleven frames, a second apart.
FOOTAGE = Footage("kitchen/a", "a.mp4", "0", 0.5 + np.arange(101) / 10, 10.6, (640, 360), (), True)
GOOD: dict[str, Any] = {
    "question": "What does the man pick up?",
    "answer": " He picks up a red mug.",
    "wrong_answer": "He picks up a knife.",
    "wrong_kind": "object",
    "off_topic_answer": "A dog runs on a beach.",
    "event": [3.0, 5.004],
    "keyframe": 4.5,
    "object": "the red mug",
    "box": [250, 500, 500, 1000],
}
ROW = {
    "video": "a.mp4",
    "prompt": "What does the man pick up?",
    "chosen": "He picks up a red mug.",
    "rejected": "He picks up a knife.",
    "rejected_irrelevant": "A dog runs on a beach.",
    "event": [3.0, 5.004],
    "keyframe": 4.5,
    "box": [160.0, 180.0, 160.0, 180.0],
    "kind": "object",
}


def drafts(*replies: list[dict[str, Any]] | None, wanted: int = 1) -> tuple[list[Any], dict[str, Any], list[Messages]]:
    """The drafts, why others are missing, and the conversations, where the model replies so, one after another."""
    settings = Settings(drafts=wanted, frames=11)
    (stretch,) = plan(FOOTAGE, settings)
    asked: list[Messages] = []

    async def ask(messages: Messages) -> str | None:
        asked.append(messages)
        reply = replies[min(len(asked), len(replies)) - 1]
        return None if reply is None else json.dumps({"drafts": reply})

    numbers = range(1, wanted + 1)
    found, missing = asyncio.run(draft_stretch(ask, FOOTAGE, stretch, read_prompts(), settings, "a.mp4", numbers))
    return found, missing, asked


def test_a_good_draft_is_a_row() -> None:
    (draft,), missing, (messages,) = drafts([GOOD])
    assert draft.row == {"id": "kitchen/a-1", **ROW} and draft.object == "the red mug" and not missing
    texts = [part["text"] for part in messages[1]["content"] if part["type"] == "text"]
    assert texts[0] == "Frame 1, shown at 0.50 seconds:\n" and texts[-2] == "\n" and "Write 1 question " in texts[-1]
    assert "of a video that lasts from 0.50 to 10.60 seconds" in texts[-1]
    assert sum(part["type"] == "image_url" for part in messages[1]["content"]) == 11


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"event": [0.45, 3], "keyframe": 1.5}, {"event": [0.5, 3.0], "keyframe": 1.5}),  # from before the first frame
        ({"event": [3, 10.65], "keyframe": 9.46}, {"event": [3.0, 10.6], "keyframe": 9.5}),  # and behind the last
        ({"box": [-5, 0, 1004, 1000]}, {"box": [0.0, 0.0, 640.0, 360.0]}),
    ],
)
def test_rounding_is_forgiven(changes: dict[str, Any], kept: dict[str, Any]) -> None:
    (draft,), _, asked = drafts([GOOD | changes])
    assert {name: draft.row[name] for name in kept} == kept and len(asked) == 1


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        ({"event": [8, 12]}, "an event outside of what was shown",
         "`event` [8.0, 12.0] does not lie in what was shown, [0.50, 10.60]"),
        ({"event": [5, 3]}, "an event outside of what was shown", "or ends before it starts"),
        ({"keyframe": 6.5}, "a keyframe outside of its event", "`keyframe` 6.5 lies outside of `event` [3.0, 5.004]"),
        ({"keyframe": 4.0}, "a keyframe that is none of the frames shown", "their times are 0.50, 1.50, 2.50, 3.50,"),
        ({"box": [500, 500, 500, 900]}, "a box that is none, or outside of its picture",
         "not [left, top, right, bottom] in thousandths"),
        ({"box": [160, 180, 1320, 360]}, "a box that is none, or outside of its picture", "thousandths"),
        ({"wrong_answer": "he picks up a red mug"}, "the chosen answer is also a rejected one", "`answer` and "
         "`wrong_answer` are the same text"),
        ({"question": "What is in <image>?"}, "a text holds a media placeholder that does not belong there",
         "`question` contains <image>"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_three_times_and_left_out(changes: dict[str, Any], reason: str, told: str) -> None:
    bad = GOOD | changes
    found, missing, asked = drafts([bad])
    assert not found and {name: complaint.reason for name, complaint in missing.items()} == {"kitchen/a-1": reason}
    assert [len(messages) for messages in asked] == [2, 4, 6]
    assert "- draft 1: " in asked[1][-1]["content"] and told in asked[1][-1]["content"]
    # Told once, and put right.
    (draft,), missing, asked = drafts([bad], [GOOD])
    assert not missing and len(asked) == 2 and draft.row["event"] == ROW["event"]


def test_the_best_of_three_replies_counts() -> None:
    bad = GOOD | {"event": [8, 12]}
    found, missing, asked = drafts([GOOD, bad], [bad, bad], [bad], wanted=2)
    assert len(found) == 1 and len(asked) == 3
    assert [complaint.reason for complaint in missing.values()] == ["an event outside of what was shown"]


def test_fewer_than_asked_for_is_not_asked_again_and_more_is_cut() -> None:
    found, missing, asked = drafts([GOOD], wanted=3)
    assert len(found) == len(asked) == 1
    assert {name: complaint.detail for name, complaint in missing.items()} == {
        "kitchen/a-2": "1 of 3 came.",
        "kitchen/a-3": "1 of 3 came.",
    }
    found, missing, _ = drafts([GOOD, GOOD])
    assert len(found) == 1 and not missing


def test_where_no_second_reply_comes_what_is_good_of_the_first_stays() -> None:
    bad = GOOD | {"event": [8, 12]}
    found, missing, _ = drafts([GOOD, bad], None, wanted=2)
    assert len(found) == 1 and [complaint.reason for complaint in missing.values()] == ["no reply from the endpoint"]
