"""Annotations in EventHallusion's layout, about the demo's videos, and recipes that evaluate on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

QUESTIONS: dict[str, dict[str, list[tuple[str, str]]]] = {
    "entire": {
        "entire_001": [("Does the red circle jump?", "Yes."), ("Which shape moves to the left in the video?", "No.")],
        "entire_002": [("What colour is the square that moves?", "No.")],
    },
    "interleave": {
        "interleave_001": [("Does the blue triangle move to the right?", "No.")],
        "interleave_002": [("What does the red square do?", "Yes."), ("What?", "No.")],
    },
    "misleading": {
        "misleading_001": [("Is the triangle green?", "Yes.")],
        "misleading_002": [("What colour is the circle that grows?", "No.")],
    },
}
IDS = [f"{video}/{n}" for videos in QUESTIONS.values() for video, asked in videos.items() for n in range(len(asked))]
ANSWERS = [answer for videos in QUESTIONS.values() for asked in videos.values() for _, answer in asked]


def write_annotations(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, videos in QUESTIONS.items():
        entries = [
            {"id": video, "questions": [{"question": question, "answer": answer} for question, answer in asked]}
            for video, asked in videos.items()
        ]
        (folder / f"{split}_questions.json").write_text(json.dumps(entries))
    return folder


def link_videos(folder: Path, sources: list[Path]) -> Path:
    """The benchmark's videos, each a link to one of `sources` in turn."""
    names = [(split, video) for split, videos in QUESTIONS.items() for video in videos]
    for index, (split, video) in enumerate(names):
        (folder / split).mkdir(parents=True, exist_ok=True)
        (folder / split / f"{video}.mp4").symlink_to(sources[index % len(sources)])
    return folder


def write_recipe(folder: Path, **changes: Any) -> Path:
    """An evaluation recipe in `folder`, on annotations there, of two models that do not exist; None removes a key."""
    content = {
        "models": {"base": {}, "tuned": {"adapter_name_or_path": "no/adapter"}},
        "model_name_or_path": "no/model",
        "template": "video_llava",
        "video_maxlen": 8,
        "benchmarks": {"eventhallusion": {"annotations": str(folder / "asked"), "videos": str(folder / "media")}},
        "output_dir": str(folder / "out"),
        **changes,
    }
    write_annotations(folder / "asked")
    path = folder / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False)
    )
    return path


def write_replies(folder: Path, replies: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps({"id": id_, "reply": reply}) + "\n" for id_, reply in replies.items()))
    return path
