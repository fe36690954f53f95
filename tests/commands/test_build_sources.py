"""`vistadpo build` on ten rows of every source in its released layout, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import SHARED, Run
from data.barcode_video import codes, write_video
from intervals_made import (
    ACTIVITYNET,
    CHARADES,
    QVHIGHLIGHTS,
    write_activitynet,
    write_charades_sta,
    write_qvhighlights,
)
from nextgqa_made import TEN as NEXTGQA
from nextgqa_made import read_jsonl, write_nextgqa
from star_made import TEN as STAR
from star_made import situation, star_question, write_star
from tvqa_plus_made import CLIPS, QUESTIONS, write_frames, write_tvqa_plus
from vidstg_made import ANNOTATIONS, vidor, write_vidor, write_vidstg

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.commands.build import main
from vistadpo_plugin.commands.validate import main as validate
from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import CLIP, KEYFRAME, ViewBuilder

WRITERS: dict[str, tuple[str, Callable[..., Path], Any]] = {
    "nextgqa": ("nextgqa", write_nextgqa, NEXTGQA),
    "star": ("star", write_star, STAR),
    "tvqa-plus": ("tvqa-plus", write_tvqa_plus, QUESTIONS),
    "charades-sta": ("intervals", write_charades_sta, CHARADES),
    "activitynet": ("intervals", write_activitynet, ACTIVITYNET),
    "qvhighlights": ("intervals", write_qvhighlights, QVHIGHLIGHTS),
    "vidstg": ("vidstg", write_vidstg, ANNOTATIONS),
}
READ = {kind: 11 if kind == "vidstg" else 10 for kind in WRITERS}
LEFT_OUT = {"nextgqa": ["nextgqa/1004/11"], "star": ["star/Prediction_T3_1"]}
LICENSES = {"nextgqa": "mit", "qvhighlights": "cc-by-nc-sa-4.0"}


def reversed_(content: Any) -> Any:
    if isinstance(content, str):
        return "".join(reversed(content.splitlines(keepends=True)))
    return dict(reversed(content.items())) if isinstance(content, dict) else content[::-1]


def build(source: str, annotations: Path, videos: Path, output: Path, *more: Any) -> int:
    where = ["--annotations", annotations, "--videos", videos, "-o", output]
    return main([source, *map(str, (*where, *more))])


def views_of(row: dict[str, Any], folder: Path, wanted: str, fps: float) -> list[int]:
    grounded = ground(parse_row(row, row["id"]), str(folder), fps)
    builder = ViewBuilder(ViewKeys.of(VistaArguments()), fps, 100, None, lambda image: image, seed=0)
    return codes(builder.build(grounded, None, {wanted})[wanted])


@pytest.mark.parametrize("kind", WRITERS)
def test_ten_rows(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every input is a row or left out; every row has three different answers; card, list of missing videos, recipe."""
    source, write, content = WRITERS[kind]
    (tmp_path / "videos").mkdir()
    output = tmp_path / "out" / "rows.jsonl"
    assert build(source, write(tmp_path, content), tmp_path / "videos", output, "--allow-missing-videos") == 0
    printed = capsys.readouterr().out
    rows, report = read_jsonl(output), tmp_path / "out" / "rows.report.jsonl"
    left_out = [entry for entry in read_jsonl(report) if entry["what"] == "left out"] if report.exists() else []
    assert len(rows) + len(left_out) == READ[kind] == int(printed.split()[2])
    assert len(rows) >= 8
    assert [entry["where"] for entry in left_out] == LEFT_OUT.get(kind, [])
    for row in rows:
        parsed = parse_row(row, row["id"])
        assert len({parsed.chosen, parsed.rejected, parsed.rejected_irrelevant}) == 3 and parsed.events
    named = {Path(row["video"]).name.removesuffix(".mp4") for row in rows}
    assert set((tmp_path / "out" / "rows.missing.txt").read_text().splitlines()) == named
    assert f": 0 of {len(named)} videos are in the folder; {len(named)} are missing" in printed
    card = (tmp_path / "out" / "rows.card.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == LICENSES.get(kind, "other")
    assert f"| {len(named)} | 0 | {len(named)} |" in card
    assert ("video_fps: 3" in printed) == (kind == "tvqa-plus") == ("`video_fps: 3`" in card)


def test_same_bytes_whatever_the_order_and_the_hash_seed(tmp_path: Path) -> None:
    """One process for each hash seed, all sources in it; QVHighlights has a validation split of recordings as well."""
    code = (
        "import sys, json; from vistadpo_plugin.commands.main import main; "
        "codes = [main(argv) for argv in json.loads(sys.argv[1])]; "
        "sys.exit(max(codes) or bool({'torch', 'llamafactory'} & set(sys.modules)))"
    )
    written = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        (folder / "videos").mkdir(parents=True)
        commands = []
        for kind, (source, write, content) in WRITERS.items():
            (folder / kind).mkdir()
            path = write(folder / kind, content if hash_seed == "1" else reversed_(content))
            command = ["build", source, "--annotations", str(path.relative_to(folder)), "--videos", "videos"]
            command += ["-o", f"out/{kind}.jsonl", "--allow-missing-videos", "--seed", "7"]
            commands.append(command + (["--val-share", "0.4"] if kind == "qvhighlights" else []))
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(commands)],
            cwd=folder, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        written.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    # dataset_info.json; rows, card and missing videos of each; lists of what was left out; a validation file
    assert len(written[0]) == 1 + 3 * len(WRITERS) + len(LEFT_OUT) + 1
    assert written[0] == written[1]
    splits = [
        {json.loads(line)["group"] for line in written[0][name].decode().splitlines()}
        for name in ("qvhighlights.jsonl", "qvhighlights_val.jsonl")
    ]
    assert not splits[0] & splits[1] and len(splits[1]) == 3  # 0.4 of eight uploads


def test_tvqa_plus_on_folders_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three frames a second: 2 s to 6 s are the images 7 to 19, which read 6 to 18; frame 13 is the keyframe."""
    frames = write_frames(tmp_path / "frames_hq", list(CLIPS)[:3])
    frame = frames / "bbt_frames" / list(CLIPS)[2] / "00012.jpg"
    frame.rename(frame.with_name("00041.jpg"))
    output = tmp_path / "out" / "rows.jsonl"
    assert build("tvqa-plus", write_tvqa_plus(tmp_path), frames, output) == 0
    rows = {row["id"]: row for row in read_jsonl(output)}
    first = rows["tvqa-plus/133290"]
    assert views_of(first, output.parent, CLIP, 3.0) == list(range(6, 19))
    assert views_of(first, output.parent, KEYFRAME, 3.0) == [12]
    assert views_of(rows["tvqa-plus/133293"], output.parent, CLIP, 3.0) == [
        49,
        50,
        51,
    ]  # 3 to 3.9 s of a clip from 40 on
    printed = capsys.readouterr().out
    # The third clip has no frame 12; the fourth is not there.
    assert "left out: its folder does not hold the frames 1, 2, 3 and so on without gaps" in printed
    assert "TVQA+: 2 of 3 videos are in the folder; 1 are missing, and 3 questions with them" in printed
    assert len(rows) == 4 and (tmp_path / "out" / "rows.missing.txt").read_text() == f"{list(CLIPS)[3]}\n"


def test_tvqa_plus_validates_and_trains_at_once(tmp_path: Path, train: Callable[..., Run]) -> None:
    """With the line `video_fps: 3` that the build prints, and `--video-fps 3`."""
    output = tmp_path / "out" / "rows.jsonl"
    assert build("tvqa-plus", write_tvqa_plus(tmp_path), write_frames(tmp_path / "frames"), output) == 0
    assert validate([str(output), "--video-fps", "3"]) == 0
    run = train(dataset="rows", dataset_dir=str(output.parent), media_dir=None, video_fps=3, max_steps=2, seed=1)
    assert sum(run.series("vista/clip_rows")) > 0 and sum(run.series("vista/object_rows")) > 0


def test_charades_sta_with_star_s_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The book is boxed in frames 12, 21 and 31, at 1.1, 2 and 3 s of 10 a second; the middle of 0 to 5 s is 2.5 s."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("AAAAA", "BBBBB", "CCCCC"):
        write_video(videos / f"{name}.mp4", range(205))
    frames = {f"{number:06d}": situation(("o017", [number, 2.0, 40.0, 30.0])) for number in (12, 21, 31)}
    (tmp_path / "star.json").write_text(json.dumps([star_question("a", video_id="AAAAA", situations=frames)]))
    annotations, output = write_charades_sta(tmp_path), tmp_path / "rows.jsonl"
    assert build("intervals", annotations, videos, output, "--star", tmp_path / "star.json") == 0
    rows = {row["id"]: row for row in read_jsonl(output)}
    book = rows["charades-sta/AAAAA/0-5/1"]
    assert book["keyframe"] == 2.0 and book["box"] == [[21, 2.0, 19.0, 28.0]]
    assert views_of(book, tmp_path, KEYFRAME, 10.0) == [20] and views_of(book, tmp_path, CLIP, 10.0) == list(range(51))
    assert sum("box" in row for row in rows.values()) == 1
    printed = capsys.readouterr().out
    assert "DDDDD not found" in printed and (tmp_path / "rows.missing.txt").read_text() == "DDDDD\n"
    # The event of CCCCC has no other beside it, and DDDDD, which is not there, is no source of wrong answers.
    assert rows["charades-sta/CCCCC/2-9/2"]["rejected"] in {row["chosen"] for row in rows.values()}
    assert "DDDDD" not in output.read_text() and "bottle" not in output.read_text()

    write_video(videos / "DDDDD.mp4", range(90))
    assert build("intervals", annotations, videos, output, "--overwrite") == 0
    assert len(read_jsonl(output)) == 10 and not (tmp_path / "rows.missing.txt").exists()


def test_vidstg_with_vidor_s_boxes(tmp_path: Path) -> None:
    videos = tmp_path / "videos" / "0000"
    videos.mkdir(parents=True)
    for name in ("1001", "1002"):
        write_video(videos / f"{name}.mp4", range(40))
    boxes = write_vidor(tmp_path / "vidor", {"1001": vidor([])})
    output = tmp_path / "rows.jsonl"
    assert build("vidstg", write_vidstg(tmp_path), videos.parent, output, "--vidor", boxes) == 0
    rows = {row["id"]: row for row in read_jsonl(output)}
    held = rows["vidstg/1001/10-30/2-0"]
    assert views_of(held, tmp_path, KEYFRAME, 10.0) == [20] and held["box"] == [[20, 2, 10, 20]]
    assert views_of(held, tmp_path, CLIP, 10.0) == list(range(10, 31))
    assert "keyframe" not in rows["vidstg/1002/10-30/4-0"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["tvqa-plus", "--annotations", "val_1.json"], "val_1.json is not TVQA+'s: a list of questions is expected"),
        (["vidstg", "--annotations", "val_1.json"], "val_1.json is not VidSTG's: a list of annotations is expected"),
        (["vidstg", "--annotations", "none.json", "--vidor", "none"], "VidOR's annotations none does not exist"),
        (["intervals", "--annotations", "val_1.json", "--star", "star.json"],
         "val_1.json is of ActivityNet Captions; --action-genome and --star have boxes of Charades' videos only"),
        (["intervals", "--annotations", "none.json"], "none.json"),
    ],
)  # fmt: skip
def test_wrong_arguments_get_a_sentence(
    command: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_activitynet(tmp_path)
    assert main([*command, "--videos", ".", "-o", "rows.jsonl"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vistadpo build: ") and sentence in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("source", "name", "read", "rows"),
    [
        ("tvqa-plus", "tvqa_plus/tvqa_plus_val.json", 3017, 3015),
        ("intervals", "charades_sta/charades_sta_test.txt", 3720, 3720),
        ("intervals", "qvhighlights/highlight_val_release.jsonl", 1550, 1550),
    ],
)
def test_the_real_files(source: str, name: str, read: int, rows: int, tmp_path: Path, capsys: Any) -> None:
    """Every row has three answers that differ, and none of its text is of a held-out recording."""
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    (tmp_path / "videos").mkdir()
    more = ("--allow-missing-videos", "--val-share", "0.1")
    assert build(source, path, tmp_path / "videos", tmp_path / "rows.jsonl", *more) == 0
    assert capsys.readouterr().out.split()[2] == str(read)
    train, validation = (read_jsonl(tmp_path / name) for name in ("rows.jsonl", "rows_val.jsonl"))
    assert len(train) + len(validation) == rows
    own = [{row.get("group", row["video"]) for row in split} for split in (train, validation)]
    assert not own[0] & own[1]
    said = [{row["chosen"] for row in split} for split in (train, validation)]
    for split, texts in zip((train, validation), said, strict=True):
        for row in split:
            parsed = parse_row(row, row["id"])
            assert len({parsed.chosen, parsed.rejected, parsed.rejected_irrelevant}) == 3 and parsed.notes == ()
            assert row["rejected_irrelevant"] in texts
            assert source == "tvqa-plus" or row["rejected"] in texts
