"""The folder that Label Studio reviews: pictures upright, videos that browsers play, clear words on what cannot be."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from annotation.label_studio_made import draft_of, read_tasks, result
from data.barcode_video import draw, read_code, write_video
from data.filmed import MATRICES, set_matrix, write_film
from PIL import Image

from vistadpo_plugin.annotation.label_studio.page import CONFIGURATION
from vistadpo_plugin.commands.annotate.export import main as export
from vistadpo_plugin.data.video.video import FrameSource

ROW = {"prompt": "?", "chosen": "1", "rejected": "2"}


def export_rows(folder: Path, rows: list[dict[str, Any]], *words: str, status: int = 0) -> list[dict[str, Any]]:
    (folder / "rows.jsonl").write_text("".join(json.dumps({**ROW, **row}) + "\n" for row in rows))
    assert export([str(folder / "rows.jsonl"), "--to", "label-studio", str(folder / "review"), *words]) == status
    return read_tasks(folder / "review")


def shown(folder: Path, task: dict[str, Any], what: str) -> Path:
    """The file behind an address of a task."""
    address = task["data"][what]
    assert address.startswith("/data/local-files/?d=review/media/")
    return folder / unquote(address.removeprefix("/data/local-files/?d="))


def test_the_picture_is_the_keyframe_and_nothing_else(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", range(40))
    (task,) = export_rows(tmp_path, [{"video": "a", "keyframe": 2.3, "box": [1, 1, 2, 2]}])
    assert read_code(Image.open(shown(tmp_path, task, "picture"))) == 23


def test_a_turned_video_with_wide_pixels_is_upright(tmp_path: Path) -> None:
    """Stored 64 x 48 with pixels 4:3 is shown 85 x 48, and after a quarter turn 48 x 85; boxes count in that."""
    set_matrix(write_film(tmp_path / "a.mp4", pixel="4:3"), MATRICES["a quarter to the right"])
    (task,) = export_rows(tmp_path, [{"video": "a", "keyframe": 0.3, "box": [12, 17, 24, 34]}])
    picture = Image.open(shown(tmp_path, task, "picture"))
    assert picture.size == (48, 85)
    assert result(draft_of(task), "box-0")["x"] == 25 and result(draft_of(task), "box-0")["y"] == pytest.approx(20)
    _, frames = FrameSource(str(tmp_path / "a.mp4"), 1.0).read(lambda times: set(range(12)), np.asarray)
    apart = [np.abs(np.asarray(picture, int) - frames[index].astype(int)).mean() for index in range(12)]
    assert np.argmin(apart) == 3  # at 0.3 s, ten a second; JPEG blurs the noise, other frames are far off
    assert sorted(apart)[1] > 3 * apart[3]


def test_videos_that_browsers_play_are_linked(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mov", range(12))
    write_video(tmp_path / "b.mkv", range(12), codec="libvpx")
    first, second = export_rows(tmp_path, [{"video": "a.mov"}, {"video": "b.mkv"}])
    for task, name, suffix in ((first, "a.mov", ".mp4"), (second, "b.mkv", ".webm")):
        file = shown(tmp_path, task, "video")
        assert file.is_symlink() and file.resolve() == (tmp_path / name).resolve() and file.suffix == suffix


def test_others_are_copied_picture_by_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """AVI with MPEG-4, and a folder of images at 2 a second; each picture of the copy is that of the same tick."""
    write_video(tmp_path / "a.avi", range(20), codec="mpeg4")
    (tmp_path / "f").mkdir()
    for number in range(5):
        draw(10 + number).save(tmp_path / "f" / f"{number}.png")
    first, second = export_rows(tmp_path, [{"video": "a.avi"}, {"video": "f", "event": [0.5, 1.0], "keyframe": 2.0}])
    assert re.search(r"shown as a copy +2\n", capsys.readouterr().out)
    for task, rate, codes in ((first, 10, range(20)), (second, 2, range(10, 15))):
        file = shown(tmp_path, task, "video")
        times, frames = FrameSource(str(file), 1.0).read(lambda times: set(range(len(times))), read_code)
        assert [frames[index] for index in sorted(frames)] == list(codes) and task["data"]["fps"] == rate
        assert times == pytest.approx(np.arange(len(codes)) / rate, abs=1e-4)
    assert read_code(Image.open(shown(tmp_path, second, "picture"))) == 14
    assert result(draft_of(second), "event-0")["ranges"] == [{"start": 2, "end": 3}]


def test_what_cannot_be_reviewed_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", range(12))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    rows = [{"video": "a"}, {"video": "b"}, {"video": "gone"}, {"video": "a", "chosen": ""}]
    (task,) = export_rows(tmp_path, rows, status=1)
    told = capsys.readouterr().out
    assert json.loads(task["data"]["vistadpo"]["row"])["video"] == "a"
    for words in ("left out: unreadable-file", "left out: missing-file", "left out: missing-text", "video not found"):
        assert words in told


def test_uneven_and_late_videos_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", range(4), stamps_ms=[0, 100, 150, 400])
    write_film(tmp_path / "b.mp4", late=0.5, sound=True)
    first, second = export_rows(tmp_path, [{"video": "a"}, {"video": "b", "keyframe": 0.8}])
    told = capsys.readouterr().out
    assert "uneven frame rate" in told and "begins after its sound" in told
    assert second["data"]["vistadpo"]["picture"]["seconds"] == 0.8
    assert first["data"]["vistadpo"]["ruler"]["pictures"] == [0, 0.1, 0.15, 0.4]


def test_an_earlier_export_is_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", range(12))
    export_rows(tmp_path, [{"video": "a"}])
    export_rows(tmp_path, [{"video": "a"}], status=2)
    assert "--overwrite" in capsys.readouterr().err
    export_rows(tmp_path, [{"video": "a"}], "--overwrite")
    assert export([str(tmp_path / "rows.jsonl"), "--to", "label-studio", str(tmp_path / "a.mp4")]) == 2
    assert "a.mp4 is a file; DIR is a folder to make" in capsys.readouterr().err


def test_ids_that_are_no_file_names(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", range(12))
    rows = [{"video": "a", "id": name} for name in ("x/y", "x_y", "../z", "x/y", "é ?")]
    pictures = {shown(tmp_path, task, "picture").name for task in export_rows(tmp_path, rows)}
    assert len(pictures) == 5
    assert pictures == {path.name for path in (tmp_path / "review/media/pictures").iterdir()}


def test_media_on_another_server(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", range(12))
    (task,) = export_rows(tmp_path, [{"video": "a", "id": "k"}], "--media-url", "https://example.org/m")
    assert task["data"]["video"] == "https://example.org/m/videos/k.mp4"


def test_the_configuration_has_a_control_for_every_result(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", range(40))
    row = {"video": "a", "rejected_irrelevant": "3", "event": [1, 2], "keyframe": 1.5, "box": [1, 1, 9, 9]}
    (task,) = export_rows(tmp_path, [row])
    controls = {
        element.get("name"): (element.tag.lower(), element.get("toName"))
        for element in ElementTree.fromstring(CONFIGURATION).iter()
    }
    drafted = draft_of(task)
    assert len(drafted) == 7
    for each in drafted:
        assert controls[each["from_name"]] == (each["type"], each["to_name"])
    assert (tmp_path / "review/label_config.xml").read_text() == CONFIGURATION
