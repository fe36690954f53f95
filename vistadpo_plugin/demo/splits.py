"""The world on disk: videos, grounded preference rows, and yes/no questions in VideoHallucer's own annotation format.

Splits never share a video: each draws its scenes from its own name and seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.demo.counterfactual import counterfactual, holds_in_rejected_view
from vistadpo_plugin.demo.shapes import FPS, Scene, write_video
from vistadpo_plugin.demo.world import KINDS, Asked, ask, draw_world, irrelevant, pairs

WORLD = 4
"""Raised when other videos, rows or questions are drawn: what was made of an earlier one is made anew."""

TRAIN, DEV, TEST = "train", "dev", "test"

KIND_WEIGHTS = {"what": 0.3, "which": 0.1, "action": 0.25, "order": 0.1, "attribute": 0.15, "presence": 0.1}
NO_SHARE = 0.6
"""Of the yes/no rows, so many are about something false: a model that says yes too often learns to say no."""


@dataclass(frozen=True)
class Split:
    """What was written: grounded rows, a folder of annotation files for the benchmark `shapes`, and the videos' root.

    A row's `video` is below `videos`, as a question's is; its id is SPLIT-SEED-VIDEO-NUMBER-KIND.
    """

    rows: Path
    annotations: Path
    videos: Path


def scenes(split: str, videos: int, seed: int) -> Iterator[tuple[Scene, random.Random]]:
    """Every video of a split, and what decides the questions about it; the first n are the same however many follow."""
    for index in range(videos):
        rng = random.Random(f"{split} {seed} {index}")
        yield draw_world(rng), rng


def write_split(
    folder: Path,
    split: str,
    videos: int,
    seed: int = 0,
    rows: int = 2,
    variants: Iterable[str] = (),
    kinds: Collection[str] = KINDS,
) -> Split:
    """Write `folder/videos/SPLIT-SEED-*.mp4`, `folder/SPLIT.jsonl` and `folder/SPLIT/*.json`, the pairs of each subset.

    `rows` preference rows a video, of distinct kinds; one pair of every subset a video. `variants`: of `VARIANTS`,
    each the same rows with one field more in `folder/SPLIT_VARIANT.jsonl`. `kinds`: what rows and pairs are about, of
    `world.KINDS`. Raises ValueError for `videos` below 1 or `rows` outside of 1 to `len(kinds)`.
    """
    if videos < 1 or not 1 <= rows <= len(kinds):
        raise ValueError(f"videos has to be 1 or more and rows 1 to {len(kinds)}, got {videos} and {rows}")
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"": [], **{variant: [] for variant in variants}}
    annotations: dict[str, list[dict[str, Any]]] = {}
    for index, (scene, rng) in enumerate(scenes(split, videos, seed)):
        stem = f"{split}-{seed}-{index:04d}"
        write_video(scene, folder / "videos" / f"{stem}.mp4")
        for number, asked in enumerate(_draw(scene, rng, rows, kinds)):
            made = row(f"{stem}-{number}-{asked.kind}", f"videos/{stem}.mp4", scene, asked, rng)
            for variant, written in lines.items():
                more = VARIANTS[variant](folder, scene, asked, f"{stem}-{number}") if variant else {}
                written.append(json.dumps({**made, **more}))
        for basic, other in pairs(scene, rng, kinds):
            entry = {
                side: {"video": f"{stem}.mp4", "question": asked.prompt, "answer": answer, "truth": asked.truth}
                for side, asked, answer in (("basic", basic, "yes"), ("hallucination", other, "no"))
            }
            annotations.setdefault(basic.kind, []).append(entry)
    for variant, written in lines.items():
        path = folder / (f"{split}_{variant}.jsonl" if variant else f"{split}.jsonl")
        path.write_text("\n".join(written) + "\n", encoding="utf-8")
    (folder / split).mkdir(exist_ok=True)
    for stale in (folder / split).glob("*.json"):  # of kinds that are not asked any more
        stale.unlink()
    for subset, entries in annotations.items():
        (folder / split / f"{subset}.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return split_in(folder, split)


def split_in(folder: Path, split: str) -> Split:
    """Where `write_split` puts it."""
    return Split(folder / f"{split}.jsonl", folder / split, folder)


def row(id_: str, video: str, scene: Scene, asked: Asked, rng: random.Random) -> dict[str, Any]:
    """A grounded preference row. What does not decide the question is left out: nobody's event tells who was first."""
    made: dict[str, Any] = {
        "id": id_,
        "video": video,
        "prompt": asked.prompt,
        "chosen": asked.truth,
        "rejected": asked.wrong,
        "rejected_irrelevant": irrelevant(scene, asked, rng),
    }
    if asked.actor is not None:
        made["keyframe"] = asked.actor.keyframe / FPS
        made["box"] = list(asked.actor.box(asked.actor.keyframe))
        if asked.event:
            made["event"] = [asked.actor.start / FPS, asked.actor.end / FPS]
    return made


def _counterfactual(folder: Path, scene: Scene, asked: Asked, name: str) -> dict[str, Any]:
    video = f"videos/{name}-counterfactual.mp4"
    write_video(counterfactual(scene, asked, random.Random(name)), folder / video)
    return {"rejected_video": video}


def _holds(folder: Path, scene: Scene, asked: Asked, name: str) -> dict[str, Any]:
    terms = holds_in_rejected_view(asked)
    return {"holds_in_rejected_view": terms} if terms else {}


VARIANTS: dict[str, Callable[[Path, Scene, Asked, str], dict[str, Any]]] = {
    "counterfactual": _counterfactual,
    "holds": _holds,
}
"""What rows may have beside what the paper has; see `counterfactual`."""


def _draw(scene: Scene, rng: random.Random, rows: int, kinds: Collection[str]) -> Iterator[Asked]:
    weights = {kind: weight for kind, weight in KIND_WEIGHTS.items() if kind in kinds}
    for _ in range(rows):
        kind = rng.choices(list(weights), list(weights.values()))[0]
        del weights[kind]
        yield ask(scene, kind, rng, rng.random() >= NO_SHARE)
