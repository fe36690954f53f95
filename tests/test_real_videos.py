"""Two real clips (640x360 h264, 25 and 23.98 fps) with rows of our own, through the command line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import SHARED, Demo, Run, needs_shared, write_rows

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
def test_real_videos_train_for_three_steps(demo: Demo, tmp_path: Path) -> None:
    """Every term on both rows: each is the other's unrelated video."""
    write_rows(tmp_path / "rows", ROWS)
    recipe = {
        "model_name_or_path": str(demo.model), "stage": "vistadpo", "do_train": True, "finetuning_type": "lora",
        "template": "video_llava", "video_maxlen": 8, "dataset": "rows", "dataset_dir": str(tmp_path / "rows"),
        "media_dir": str(VIDEOS), "cutoff_len": 512, "output_dir": str(tmp_path / "out"), "learning_rate": 1.0e-3,
        "per_device_train_batch_size": 2, "max_steps": 3, "logging_steps": 1, "report_to": "none", "use_cpu": True,
        "save_strategy": "no",
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    cli = Path(sys.executable).parent / "llamafactory-cli"
    done = subprocess.run(
        [str(cli), "train", str(path)], capture_output=True, text=True, timeout=300, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "a box reaches over the edge of the frame and is clipped to it (1 row)" in done.stdout
    steps = [entry for entry in Run(tmp_path / "out").log if "loss" in entry]
    assert len(steps) == 3
    for entry in steps:
        for term in ("response", "video", "clip", "object", "token"):
            assert entry[f"vista/{term}_rows"] == 2
            assert math.isfinite(entry[f"vista/{term}_loss"])
    assert steps[2]["loss"] < steps[0]["loss"], json.dumps([entry["loss"] for entry in steps])
