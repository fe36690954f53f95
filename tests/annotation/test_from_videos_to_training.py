"""A folder of videos to a training run, by the commands a user types: drafts of a scripted model, reviewed, imported,
validated, previewed, trained on. Ten made videos, and the two real ones where they are here."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from annotation.drafting import COMMAND as VISTADPO
from annotation.drafting import read_jsonl, words
from annotation.label_studio_made import annotation, draft_of, read_tasks, result, verdict, write_export
from annotation.label_studio_server import COMMAND, label_studio
from annotation.shapes_endpoint import Oracle, make_films, picture_sizes
from annotation.test_label_studio_shapes import interval_iou
from conftest import SHARED, Demo, Run, launch_cli, tiny_recipe
from local_endpoint import conversation, serve, whole

from vistadpo_plugin.annotation.overlap import box_iou
from vistadpo_plugin.demo.shapes import FPS, HEIGHT, WIDTH

pytest.importorskip("openai")

REAL = SHARED / "data/videos"
TERMS = ("response", "video", "clip", "object", "token")
MADE = 10


def vistadpo(*arguments: str | Path) -> str:
    """What the command prints; it has to end with 0."""
    done = subprocess.run([*VISTADPO, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def export_and_review(drafts: Path, folder: Path, review: Any) -> Path:
    """Label Studio's export after `review` (task -> results and verdict): the real one's, or one in its form."""
    vistadpo("annotate", "export", drafts, "--to", "label-studio", folder / "review")
    if COMMAND is None:
        tasks = read_tasks(folder / "review")
        said = [[annotation(results, choice)] for results, choice in map(review, tasks)]
        return write_export(folder / "export.json", tasks, said)
    with label_studio(folder) as studio:
        project = studio.make_project(folder / "review")
        for task in studio.tasks(project):
            results, choice = review(task)
            body = {"result": [*results, verdict(choice)]}
            studio.call("POST", f"/api/tasks/{task['id']}/annotations/", body)
        return studio.export(project, folder / "export.json")


def in_form(text: str) -> str:
    """A model that knows nothing of a video, and answers each request in form."""
    parts = json.loads(text)[1]["content"]
    asked = " ".join(part["text"] for part in parts if part["type"] == "text")
    box = [250, 250, 600, 700]
    if "Draw a box" in asked:
        return json.dumps({"box": box})
    if "Which answer" in asked:
        return "A" if "A: It is on the left." in asked else "B"
    told = [float(seconds) for seconds in re.findall(r"shown at ([\d.]+) seconds", asked)]
    made = [
        {
            "question": f"Where is it, {name}?",
            "answer": "It is on the left.",
            "wrong_answer": "It is on the right.",
            "wrong_kind": "attribute",
            "off_topic_answer": "A train arrives.",
            "event": [told[2], told[6]],
            "keyframe": told[4],
            "object": "it",
            "box": box,
        }
        for name in ("first", "second")
    ]
    return json.dumps({"drafts": made[: int(re.search(r"Write (\d+) question", asked)[1])]})


def test_from_videos_to_three_steps(demo: Demo, tmp_path: Path) -> None:
    """The model answers badly at times: no JSON for video 3 at first, never for 4, and draft 5-1 has a wrong event.

    The reviewer draws what is true there, rejects 9-2, rewrites a question and moves a box of the first real video, and
    accepts the rest as they are drafted. Of the real videos nothing knows the truth.
    """
    films = make_films(tmp_path / "videos", MADE, seed=7)
    real = sorted(REAL.glob("*.mp4"))
    for video in real:
        shutil.copy(video, tmp_path / "videos")

    def spoil(what: str, number: int, messages: list[dict[str, Any]], reply: str) -> str | None:
        if what == "draft" and (number == 4 or number == 3 and len(messages) == 2):
            return "Let me think."
        if what == "draft" and number == 5:
            drafts = json.loads(reply)["drafts"]
            first, last = drafts[0]["event"]
            return json.dumps({"drafts": [{**drafts[0], "event": [first, last - 0.4]}, *drafts[1:]]})
        return None

    oracle = Oracle(films, spoil)

    def answer(text: str, before: int) -> str | tuple[int, bytes]:
        return oracle(text, before) if picture_sizes(text) == {(WIDTH, HEIGHT)} else in_form(text)

    drafts = tmp_path / "rows/drafts.jsonl"
    with serve(answer, whole, conversation) as endpoint:
        vistadpo("annotate", *words(tmp_path / "videos", drafts, endpoint, "--yes", "--time-limit", "300"))
    drafted = {row["id"]: row for row in read_jsonl(drafts)}
    names = [*(str(number) for number in range(MADE) if number != 4), *(video.stem for video in real)]
    assert list(drafted) == [f"{name}-{draft}" for name in names for draft in (1, 2)]
    asked = {f"{number}-{draft + 1}": films[number].questions[draft] for number in range(MADE) for draft in (0, 1)}
    edited = f"{real[0].stem}-1" if real else None

    def review(task: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        identifier, results = json.loads(task["data"]["vistadpo"]["row"])["id"], draft_of(task)
        if identifier == "5-1":
            actor = asked[identifier].actor
            ticks = result(results, "event-0")["ranges"]
            assert ticks == [{"start": actor.start + 1, "end": actor.end - 3}]
            ticks[0]["end"] = actor.end + 1
        elif identifier == edited:
            result(results, "prompt")["text"] = ["Where is it?"]
            result(results, "box-0")["width"] = 50.0
        return results, "reject" if identifier == "9-2" else "accept"

    path = export_and_review(drafts, tmp_path, review)
    rows = tmp_path / "rows/reviewed.jsonl"
    vistadpo("annotate", "import", path, "-o", rows)
    back = {row["id"]: row for row in read_jsonl(rows)}
    assert list(back) == [identifier for identifier in drafted if identifier != "9-2"]
    for identifier, row in back.items():
        if identifier in asked:  # the truth is known
            actor = asked[identifier].actor
            assert interval_iou(row["event"], [actor.start / FPS, actor.end / FPS]) == 1
            assert box_iou(row["box"], actor.box(round(row["keyframe"] * FPS))) >= 0.95
        if identifier == edited:
            x, y, width, height = drafted[identifier]["box"]
            width = width / 0.35 * 0.5  # the box was from 25 % to 60 % of the picture's width
            assert row["box"] == pytest.approx([x, y, width, height], abs=0.05)
            assert {**row, "box": None} == {**drafted[identifier], "prompt": "Where is it?", "box": None}
        elif identifier != "5-1":
            assert row == drafted[identifier]

    assert "(0 errors, 0 warnings" in vistadpo("validate", rows, "--workers", "1", "--time-limit", "300")
    assert "cannot be used" not in vistadpo("preview", rows, "--rows", "99", "-o", tmp_path / "preview.html")
    page = (tmp_path / "preview.html").read_text()
    for row in back.values():
        assert row["id"] in page and row["prompt"] in page

    recipe = tiny_recipe(Demo(rows.parent, demo.model), tmp_path / "out") | {"dataset": rows.stem, "max_steps": 3}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = launch_cli(tmp_path / "recipe.yaml")
    assert done.returncode == 0, done.stdout
    assert f"VistaDPO train dataset: {len(back)} rows" in done.stdout
    steps = [entry for entry in Run(tmp_path / "out").log if "loss" in entry]
    assert len(steps) == 3
    for entry in steps:
        for term in TERMS:
            assert entry[f"vista/{term}_rows"] == 2 and math.isfinite(entry[f"vista/{term}_loss"])
