"""Media columns whose first rows have nothing: the host settles the types of columns by its first batch."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Demo, Run, write_rows
from PIL import Image

from vistadpo_plugin.data.rows.processor import _media_json, own_media

ANSWERS = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}


@pytest.mark.parametrize("media", ["images", "videos"])
def test_media_may_come_late(demo: Demo, train: Callable[..., Run], tmp_path: Path, media: str) -> None:
    """Grounded rows, which have no such column, then rows with a picture, or with two videos."""
    rows = [{**row, "video": str(demo.data / row["video"])} for row in demo.rows[:4]]
    write_rows(tmp_path / "data", rows)
    Image.new("RGB", (28, 28), "red").save(tmp_path / "red.png")
    files = {"images": [str(tmp_path / "red.png")], "videos": [row["video"] for row in rows[:2]]}[media]
    holders = {"images": "<image>", "videos": "<video><video>"}[media]
    row = {"instruction": f"{holders}What is it?", "input": "", "chosen": "It is red.", "rejected": "It is blue."}
    late = {"file_name": "late.json", "ranking": True, "columns": {**ANSWERS, media: media}}
    (tmp_path / "data" / "late.json").write_text(json.dumps([{**row, media: files}] * 4))
    info = {"rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"}, "late": late}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(info))
    run = train(
        dataset="rows,late", dataset_dir=str(tmp_path / "data"), preprocessing_batch_size=4, max_steps=1,
        per_device_train_batch_size=8,
    )  # fmt: skip
    assert run.log[0]["vista/response_rows"] == 8 and run.log[0]["vista/video_rows"] == 4
    assert run.log[0]["vista/response_loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_media_out_of_tables_come_back() -> None:
    """Encoded images byte by byte, opened ones pixel by pixel, paths and lists of them as they are."""
    picture = Image.effect_noise((5, 4), 50).convert("RGB")
    media = [{"path": None, "bytes": b"\x89PNG \xff"}, {"path": "a.png", "bytes": None}, "b.mp4", ["c.png", "d.png"]]
    found = own_media({"images": _media_json([*media, picture])}, "images")
    assert found[:-1] == media
    again = Image.open(io.BytesIO(found[-1]["bytes"]))
    assert again.size == picture.size and again.tobytes() == picture.tobytes()
    assert own_media({"videos": _media_json(None)}, "videos") == own_media({"videos": _media_json([])}, "videos") == []
