"""Two real clips (640x360 h264, 25 and 23.98 fps) with rows of our own, through the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml
from conftest import SHARED, Run, launch_cli, needs_shared, write_rows

VIDEOS = SHARED / "data" / "videos"

ROWS = [
    {
        "id": "baby", "video": "baby.mp4", "prompt": "What is the baby doing?",
        "chosen": "The baby sits on a bed and turns the pages of a book.", "rejected": "The baby is sleeping on a bed.",
        "rejected_irrelevant": "A rocket starts.", "event": [2.0, 6.0], "keyframe": 3.0, "box": [0, 150, 350, 180],
    },
    {
        "id": "film", "video": "film.mp4", "prompt": "What does the child on the carpet play with?",
        "chosen": "The child plays with a green and yellow toy car.", "rejected": "The child plays with a ball.",
        "rejected_irrelevant": "A cake is baked.", "event": [[0.5, 1.5], [4.0, 5.0]], "keyframe": 4.4,
        "box": [[240, 310, 70, 55], [265, 222, 115, 115]],
    },
]  # fmt: skip


@needs_shared
def test_real_videos_train_for_three_steps(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Every term on both rows: each is the other's unrelated video."""
    write_rows(tmp_path / "rows", ROWS)
    data = {"dataset": "rows", "dataset_dir": str(tmp_path / "rows"), "media_dir": str(VIDEOS)}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe, **data, "max_steps": 3}))
    done = launch_cli(path)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "a box reaches over the edge of the frame and is clipped to it (1 row)" in done.stdout
    steps = [entry for entry in Run(tmp_path / "out").log if "loss" in entry]
    assert len(steps) == 3
    for entry in steps:
        for term in ("response", "video", "clip", "object", "token"):
            assert entry[f"vista/{term}_rows"] == 2
            assert math.isfinite(entry[f"vista/{term}_loss"])
    assert steps[2]["loss"] < steps[0]["loss"], json.dumps([entry["loss"] for entry in steps])
