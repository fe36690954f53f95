"""Ten TVQA+ questions by hand, in the layout of tvqa_plus_val.json, and folders of frames for their clips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.barcode_video import draw

CLIPS = {"s01e02_seg02_clip_12": 0, "s01e02_seg02_clip_13": 40, "s03e05_seg01_clip_00": 80, "s06e15_seg02_clip_00": 120}
"""Clip -> what its first frame reads; 40 frames each, a third of a second apart."""


def box(frame: int, label: str, left: int, top: int, width: int, height: int) -> dict[str, Any]:
    return {"img_id": frame, "top": top, "height": height, "width": width, "label": label, "left": left}


def tvqa_question(qid: int, clip: str, asked: str, options: Sequence[str], right: int, **more: Any) -> dict[str, Any]:
    """One entry: by default seconds 2 to 6, and boxes in the frames 7, 13 and 19, which are at 2, 4 and 6 s."""
    boxes = {
        "7": [box(7, "Penny", 1, 2, 30, 20)],
        "13": [box(13, "Penny", 4, 5, 30, 20), box(13, "mug", 40, 30, 8, 9)],
        "19": [],
    }
    made = {"qid": qid, "vid_name": clip, "q": asked, "answer_idx": str(right), "ts": [2.0, 6], "bbox": boxes}
    return {**made, **{f"a{place}": option for place, option in enumerate(options)}, **more}


_A, _B, _C, _D = CLIPS
QUESTIONS = [
    tvqa_question(
        133290, _A, "What does Penny hold when she did n't sit ?",
        ("Penny holds a book .", "Penny holds a mug .", "A towel .", "Penny 's phone .", "A lamp ."), 1,
    ),
    tvqa_question(
        133291, _A, "Who is standing next to Penny ?", ("Raj", "Sheldon", "Howard", "Stuart", "Nobody"), 1,
        ts=[0.0, 5.4], bbox={"1": [box(1, "Penny", 0, 0, 20, 40)], "19": [box(19, "Penny", 9, 9, 9, 9)], "25": []},
    ),
    tvqa_question(133292, _B, "Where did Raj sit ?", ("On the floor .", "The desk", "The bed", "A car", "Outside"), 0),
    tvqa_question(
        133293, _B, "Why is Penny glad ?",
        ("Penny won .", "Penny lost .", "Penny slept .", "Penny ate .", "She likes rain ."), 0, ts=[3, 3.9],
    ),
    tvqa_question(133294, _C, "How did Howard feel ?", ("angry", "relieved", "hungry", "tired", "proud"), 4, bbox={}),
    tvqa_question(133295, _C, "What color is the sofa ?", ("Red", "Green", "Blue", "Black", "White"), 2),
    tvqa_question(133296, _C, "When does Leonard leave ?", ("At 6 : 30 .", "At 8 .", "Noon", "Late", "Never"), 0),
    tvqa_question(133297, _D, "What did Amy drop ?", ("A spoon", "A fork", "Keys", "Her bag", "A coin"), 3),
    tvqa_question(133298, _D, "Where is Bernadette ?", ("At the door", "Upstairs", "In bed", "Gone", "Here"), 1),
    tvqa_question(133299, _D, "Does Amy smile ?", ("No", "Yes , twice", "Once", "Maybe", "Always"), 1),
]  # fmt: skip


def write_tvqa_plus(folder: Path, questions: Sequence[Any] = QUESTIONS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tvqa_plus_val.json"
    path.write_text(json.dumps(list(questions)))
    return path


def write_frames(folder: Path, clips: Sequence[str] = tuple(CLIPS)) -> Path:
    """FOLDER/bbt_frames/CLIP/00001.jpg and on, as the frames are handed out; frame n reads its clip's first + n - 1."""
    for clip in clips:
        place = folder / "bbt_frames" / clip
        place.mkdir(parents=True)
        for number in range(40):
            draw(CLIPS[clip] + number).save(place / f"{number + 1:05d}.jpg", quality=95)
    return folder
