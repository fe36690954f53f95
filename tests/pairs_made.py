"""Ten preference pairs of each layout as its project writes them; the ninth has no rejected answer, the tenth no video.

Of the others, each is about `clips/N.mp4`, N being its place from 0, and says so in its answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ASKED, RIGHT, WRONG = "What does he do?", "He runs {} times.", "He sleeps {} times."
GONE = 9
"""The pair whose video is nowhere."""


def _video(n: int) -> str:
    return "clips/gone.mp4" if n == GONE else f"clips/{n}.mp4"


def _wrong(n: int) -> str:
    return "" if n == 8 else WRONG.format(n)


def _hound(n: int) -> dict[str, Any]:
    return {
        "id": f"q-{n}", "video": _video(n).removesuffix(".mp4"), "prompt": f"<video>\n{ASKED}", "answer": "He runs.",
        "chosen": RIGHT.format(n), "rejected": _wrong(n), "chosen_score": 5, "rejected_score": 1,
    }  # fmt: skip


def _rrpo(n: int) -> dict[str, Any]:
    right, wrong = RIGHT.format(n), _wrong(n)
    return {
        "question": f"<image>\n{ASKED}", "answer": right, "pred": wrong, "src": "webvid_qa", "sample_id": n,
        "answer_masked": right.replace("runs", "<MASK> runs </MASK>"),
        "pred_masked": wrong.replace("sleeps", "<MASK> sleeps </MASK>"), "video": _video(n),
    }  # fmt: skip


def _turns(right: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"<video>{ASKED}"}, {"role": "assistant", "content": right}]


def _swift(n: int) -> dict[str, Any]:
    """The four ways of its documents in turn."""
    made = {"messages": _turns(RIGHT.format(n)), "videos": [_video(n)]}
    answer = {"role": "assistant", "content": _wrong(n)}
    ways: list[dict[str, Any]] = [
        {"rejected_response": _wrong(n)},
        {"rejected_response": [answer]},
        {"rejected_messages": [made["messages"][0], answer]},
        {"rejected_messages": [made["messages"][0], answer], "rejected_videos": ["clips/0.mp4"]},
    ]
    return {**made, **ways[n % 4]}


def _trl(n: int) -> dict[str, Any]:
    """Texts; conversations; conversations that hold the prompt; and media in the message's parts, in turn."""
    user, asked = {"role": "user", "content": ASKED}, [{"type": "text", "text": ASKED}]
    right, wrong = ([{"role": "assistant", "content": text}] for text in (RIGHT.format(n), _wrong(n)))
    parts = [{"role": "user", "content": [{"type": "video", "video": _video(n)}, *asked]}]
    ways: list[dict[str, Any]] = [
        {"prompt": ASKED, "chosen": RIGHT.format(n), "rejected": _wrong(n), "videos": [_video(n)]},
        {"prompt": [user], "chosen": right, "rejected": wrong, "videos": [_video(n)]},
        {"chosen": [user, *right], "rejected": [user, *wrong], "videos": [_video(n)]},
        {"prompt": parts, "chosen": right, "rejected": wrong},
    ]
    return ways[n % 4]


_MADE = {"llava-hound": _hound, "rrpo": _rrpo, "swift": _swift, "trl": _trl}
FILES = {"llava-hound": "sft_dpo_17k.jsonl", "rrpo": "rrpo.json", "swift": "temple.jsonl", "trl": "pairs.json"}


def write_pairs(folder: Path, layout: str) -> Path:
    """The ten of one layout, as JSON lines or as one list."""
    pairs = [_MADE[layout](n) for n in range(10)]
    path = folder / FILES[layout]
    lines = "".join(f"{json.dumps(pair)}\n" for pair in pairs)
    path.write_text(lines if path.suffix == ".jsonl" else json.dumps(pairs))
    return path
