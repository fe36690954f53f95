"""Ten VidSTG annotations by hand, in the released layout, and VidOR's files of two of their videos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OBJECTS = {0: "adult", 1: "child", 2: "ball/sports_ball", 3: "dog", 4: "cup"}


def annotation(
    vid: str, relation: tuple[int, str, int], asked: Sequence[tuple[str, int]], begin: int = 10, end: int = 30,
    objects: dict[int, str] = OBJECTS, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """One entry: (subject, predicate, object), and questions with the object they ask for; 10 frames a second."""
    subject, predicate, thing = relation
    times = {"begin_fid": begin, "end_fid": end}
    kinds = {tid: "person" if name in ("adult", "child") else "object" for tid, name in OBJECTS.items()}
    questions = [{"description": said, "type": kinds[target], "target_id": target} for said, target in asked]
    made = {
        "vid": vid, "fps": 10, "frame_count": 40, "used_segment": {"begin_fid": 0, "end_fid": 39}, "width": 64,
        "height": 48, "subject/objects": [{"tid": tid, "category": name} for tid, name in objects.items()],
        "used_relation": {"subject_tid": subject, "object_tid": thing, "predicate": predicate, **times},
        "temporal_gt": times, "captions": [{"description": "the child holds it.", "type": "person", "target_id": 1}],
        "questions": questions,
    }  # fmt: skip
    return {**made, **more}


ANNOTATIONS = [
    annotation("1001", (1, "hold", 2), [("who holds the ball in the garden?", 1), ("what does the child hold?", 2)]),
    annotation("1001", (0, "watch", 3), [("who watches the dog?", 0)], begin=0, end=20),
    annotation("1001", (1, "watch", 3), [("who watches the dog?", 1)], begin=20, end=40),
    annotation("1002", (3, "bite", 2), [("what bites the ball?", 3)]),
    annotation("1002", (0, "lift", 4), [("what does the adult lift?", 4)]),
    annotation("1003", (1, "kick", 2), [("what does the child kick?", 2)], objects={1: "child", 2: "ball/sports_ball"}),
    annotation("1003", (1, "touch", 2), [], objects={1: "child", 2: "ball/sports_ball", 5: "baby", 6: "cat"}),
    annotation("1004", (0, "hug", 1), [("who hugs the child?", 0), ("who does the adult hug?", 1)]),
    annotation("1004", (0, "hold", 4), [("what does the adult hold?", 4)]),
    annotation("1004", (0, "chase", 3), [("what does the adult chase?", 3)]),
]


def vidor(relations: Sequence[tuple[int, str, int]], frames: int = 40, boxed: Sequence[int] = range(40)) -> Any:
    """A VidOR file; in frame n of `boxed`, object t has the box from (n, t) to (n + 10, t + 20)."""

    def entry(n: int, t: int) -> dict[str, Any]:
        sides = {"xmin": n, "ymin": t, "xmax": n + 10, "ymax": t + 20}
        return {"tid": t, "bbox": sides, "generated": 0, "tracker": "none"}

    return {
        "version": "VERSION 1.0", "frame_count": frames, "fps": 10, "width": 64, "height": 48,
        "subject/objects": [{"tid": tid, "category": name} for tid, name in OBJECTS.items()],
        "trajectories": [[entry(n, t) for t in OBJECTS] if n in boxed else [] for n in range(frames)],
        "relation_instances": [
            {"subject_tid": one, "object_tid": two, "predicate": done, "begin_fid": 0, "end_fid": 5}
            for one, done, two in relations
        ],
    }  # fmt: skip


def write_vidstg(folder: Path, items: Any = ANNOTATIONS) -> Path:
    path = folder / "val_annotations.json"
    path.write_text(json.dumps(items))
    return path


def write_vidor(folder: Path, files: dict[str, Any]) -> Path:
    for video, content in files.items():
        (folder / "0000").mkdir(parents=True, exist_ok=True)
        (folder / "0000" / f"{video}.json").write_text(json.dumps(content))
    return folder
