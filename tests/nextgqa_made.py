"""A small NExT-GQA by hand, and the questions it holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HEADER = "video_id frame_count width height question answer qid type a0 a1 a2 a3 a4".split()

# video, qid, type, question, options (the first is the right one), intervals
Line = tuple[str, str, str, str, Sequence[str], Any]

LINES: list[Line] = [
    (
        "1001", "0", "CW", "why did the boy pick up the present",
        ("unwrap it", "share with the girl", "dance", "sleep", "wave"), [[1.2, 2.8]],
    ),
    (
        "1001", "3", "TN", "what did the boy do after sitting down",
        ("hold the girl s hand", "drink water", "jump", "sing", "run away"), [[0.5, 1.0], [2.0, 3.5]],
    ),
    (
        "1002", "0", "CW", "why is the dog running",
        ("chasing a ball", "hungry", "play with the dog", "afraid of thunder", "no reason"), [[0.0, 1.5]],
    ),
    (
        "1003", "1", "TN", "what does the lady do after cooking",
        ("wash the dishes", "eat noodles", "close the fridge", "leave", "smile"), [[3.0, 3.9]],
    ),
    (
        "1004", "2", "CW", "why does the baby cry",
        ("fell off the sofa", "wants milk", "sees a clown", "toy broke", "tired"), [[1.0, 2.0]],
    ),
]  # fmt: skip

TEN: list[Line] = [
    *LINES,
    (
        "1001", "5", "TC", "how did the girl react when the boy sat down",
        ("clap hands", "frown", "turn away", "fall over", "cry"), [[2.2, 3.0]],
    ),
    (
        "1002", "7", "TP", "what did the man do before the dog jumped",
        ("threw a stick", "opened the gate", "sat on a bench", "whistled", "stroked the cat"), [[0.2, 0.9]],
    ),
    (
        "1003", "6", "CH", "how does the lady stir the soup",
        ("with a spoon", "with a fork", "by hand", "using chopsticks", "with a whisk"), [[0.4, 1.2]],
    ),
    (
        "1004", "9", "TC", "what is the baby doing when the father claps",
        ("crawling", "drawing", "drinking", "holding a toy", "bouncing"), [[2.0, 3.0]],
    ),
    (
        "1004", "11", "CW", "why does the father laugh",
        ("baby makes a face", "sees the clown", "toy falls", "reads a joke", "wins"), None,
    ),
]  # fmt: skip
"""Ten questions, the last of which has no interval."""


def write_nextgqa(folder: Path, lines: Sequence[Line] = LINES, split: str = "val", **changes: Any) -> Path:
    """`SPLIT.csv` and `gsub_SPLIT.json`; the right option stands at place `qid` modulo 5."""
    folder.mkdir(parents=True, exist_ok=True)
    grounding: dict[str, Any] = {}
    with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, HEADER)
        writer.writeheader()
        for video, qid, kind, asked, (right, *wrong), intervals in lines:
            options = list(wrong)
            options.insert(int(qid) % 5, right)
            line = {"video_id": video, "frame_count": "40", "width": "64", "height": "48", "qid": qid, "type": kind}
            line |= {"question": asked, "answer": right}
            line |= {f"a{place}": option for place, option in enumerate(options)}
            writer.writerow(line)
            entry = grounding.setdefault(video, {"duration": 4, "location": {}, "fps": 10})
            if intervals is not None:
                entry["location"][qid] = intervals
    (folder / f"gsub_{split}.json").write_text(json.dumps(grounding))
    return folder


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
