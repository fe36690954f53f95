"""The shapes world, whose truth is known: an annotator who draws it in the page's units gives it back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from annotation.label_studio_made import annotation, draft_of, read_tasks, result, write_export

from vistadpo_plugin.annotation.overlap import box_iou
from vistadpo_plugin.commands.annotate.export import main as export
from vistadpo_plugin.commands.annotate.import_rows import main as import_rows
from vistadpo_plugin.demo.shapes import FPS, HEIGHT, WIDTH, Actor, write_video
from vistadpo_plugin.demo.world import ask, draw_world


def draw_truth(results: list[dict[str, Any]], actor: Actor) -> None:
    """As with a mouse: ticks count frames from 1, per cents have two decimals."""
    result(results, "event-0")["ranges"] = [{"start": actor.start + 1, "end": actor.end + 1}]
    x, y, width, height = actor.box(actor.keyframe)
    shares = {"x": x / WIDTH, "y": y / HEIGHT, "width": width / WIDTH, "height": height / HEIGHT}
    result(results, "box-0").update({name: round(100 * share, 2) for name, share in shares.items()})


def interval_iou(one: list[float], other: list[float]) -> float:
    return (min(one[1], other[1]) - max(one[0], other[0])) / (max(one[1], other[1]) - min(one[0], other[0]))


@pytest.mark.parametrize("touched", [True, False])
def test_the_truth_comes_back(touched: bool, tmp_path: Path) -> None:
    """Drawn anew over wrong drafts, or left as it was drafted."""
    actors, lines = [], []
    for number in range(8):
        rng = random.Random(number)
        scene = draw_world(rng)
        write_video(scene, tmp_path / f"{number}.mp4")
        asked = ask(scene, "what", rng)
        actor = asked.actor
        actors.append(actor)
        row = {"video": f"{number}.mp4", "prompt": asked.prompt, "chosen": asked.truth, "rejected": asked.wrong}
        row |= {"event": [actor.start / FPS, actor.end / FPS], "box": list(actor.box(actor.keyframe))}
        row |= {"event": [0.0, 0.4], "box": [1, 2, 3, 4]} if touched else {}
        lines.append(json.dumps({**row, "keyframe": actor.keyframe / FPS}))
    (tmp_path / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert export([str(tmp_path / "rows.jsonl"), "--to", "label-studio", str(tmp_path / "review")]) == 0
    tasks = read_tasks(tmp_path / "review")
    annotations = []
    for task, actor in zip(tasks, actors, strict=True):
        results = draft_of(task)
        if touched:
            draw_truth(results, actor)
        else:
            assert result(results, "event-0")["ranges"] == [{"start": actor.start + 1, "end": actor.end + 1}]
        annotations.append([annotation(results)])
    path = write_export(tmp_path / "export.json", tasks, annotations)
    assert import_rows([str(path), "-o", str(tmp_path / "back.jsonl")]) == 0
    back = [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()]
    for row, actor in zip(back, actors, strict=True):
        assert interval_iou(row["event"], [actor.start / FPS, actor.end / FPS]) == 1
        assert box_iou(row["box"], actor.box(actor.keyframe)) >= (0.995 if touched else 1)
        assert row["keyframe"] == actor.keyframe / FPS
