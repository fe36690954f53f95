"""`vistadpo build preferences` as a user runs it: files of several layouts in, plain rows, card and account out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run
from data.barcode_video import write_video
from nextgqa_made import read_jsonl
from pairs_made import ASKED, FILES, GONE, RIGHT, WRONG, write_pairs

from vistadpo_plugin.commands.build import main
from vistadpo_plugin.data.rows.schema import parse_row

HOUND = [
    {
        "id": f"q{number}",
        "video": video,
        "prompt": "<video>\nWhat happens?",
        "answer": "A man runs.",
        "chosen": "A man runs fast.",
        "rejected": f"A dog sleeps {number} times.",
    }
    for number, video in enumerate(("webvid/1", "webvid/2", "v_gone", "webvid/gone", "webvid/gone"))
]
SWIFT = [
    {
        "messages": [
            {"role": "user", "content": "<video>Describe the video."},
            {"role": "assistant", "content": "Up, then down."},
        ],
        "rejected_response": "Down, then up.",
        "videos": ["/mnt/clips/3.mp4"],
        **more,
    }
    for more in ({}, {"rejected_videos": ["/mnt/clips/1.mp4"]}, {"rejected_videos": ["/mnt/clips/none.mp4"]})
]
RRPO = [
    {
        "question": "<image>\nWho?",
        "answer": "A man.",
        "pred": "A cat.",
        "src": "star_qa",
        "sample_id": 0,
        "video": video,
    }
    for video in ("torn.mp4", "4.mp4")
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three that can be read, one as frames, one that cannot."""
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("webvid/1.mp4", "webvid/2.mkv", "other/3.mp4")):
        (folder / name).parent.mkdir(exist_ok=True)
        write_video(folder / name, range(number * 50, number * 50 + 20))
    (folder / "torn.mp4").write_bytes(b"no video")
    write_frames(folder / "4")
    return folder


def write_frames(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for number in range(1, 5):
        Image.new("RGB", (64, 48), (10 * number, 0, 0)).save(folder / f"c01_{number:04d}.jpeg")


@pytest.fixture
def build(tmp_path: Path, videos: Path) -> Callable[..., int]:
    """Into out/rows.jsonl, from one file a layout."""
    (tmp_path / "17k.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in [*HOUND, "torn"]))
    (tmp_path / "temple.json").write_text(json.dumps(SWIFT))
    (tmp_path / "rrpo.json").write_text(json.dumps(RRPO))

    def run(*more: str, files: tuple[str, ...] = ("17k.jsonl", "temple.json", "rrpo.json")) -> int:
        given = ["--videos", str(videos), "-o", str(tmp_path / "out" / "rows.jsonl"), "--annotations"]
        return main(["preferences", *given, *(str(tmp_path / file) for file in files), *more])

    return run


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_jsonl(folder / "rows.jsonl")}


def test_rows_of_every_layout(build: Callable[..., int], tmp_path: Path, videos: Path) -> None:
    assert build() == 0
    rows = rows_of(tmp_path / "out")
    assert {name: row["video"].removeprefix(f"{videos}/") for name, row in rows.items()} == {
        "17k.jsonl:1": "webvid/1.mp4",
        "17k.jsonl:2": "webvid/2.mkv",
        "temple.json[0]": "other/3.mp4",
        "temple.json[1]": "other/3.mp4",
        "rrpo.json[1]": "4",
    }
    assert rows["17k.jsonl:1"] == {
        "id": "17k.jsonl:1",
        "video": str(videos / "webvid" / "1.mp4"),
        "prompt": "What happens?",
        "chosen": "A man runs fast.",
        "rejected": "A dog sleeps 0 times.",
    }
    assert parse_row(rows["temple.json[1]"], "").rejected_videos == (str(videos / "webvid" / "1.mp4"),)
    assert parse_row(rows["rrpo.json[1]"], "").prompt == "<video>\nWho?"


@pytest.mark.parametrize("layout", FILES)
def test_ten_pairs_of_every_layout(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight rows; the pair without a rejected answer and the one without a video are counted and listed, each once."""
    path, clips = write_pairs(tmp_path, layout), tmp_path / "videos/clips"
    clips.mkdir(parents=True)
    for number in range(8):
        write_video(clips / f"{number}.mp4", range(20 * number, 20 * number + 10))
    output = tmp_path / "out/rows.jsonl"
    assert main(["preferences", "--annotations", str(path), "--videos", str(clips.parent), "-o", str(output)]) == 0
    printed, rows = capsys.readouterr().out, rows_of(output.parent)
    assert f"10 pairs in the layout {layout}\n" in printed
    named = [f"{path.name}:{n + 1}" if path.suffix == ".jsonl" else f"{path.name}[{n}]" for n in range(10)]
    assert list(rows) == named[:8]
    for number, row in enumerate(rows.values()):
        parsed = parse_row(row, row["id"])
        assert parsed.prompt == f"<video>\n{ASKED}" and row["video"] == str(clips / f"{number}.mp4")
        assert (row["chosen"], row["rejected"]) == (RIGHT.format(number), WRONG.format(number))
        assert row.get("phrases") == ({"chosen": ["runs"], "rejected": ["sleeps"]} if layout == "rrpo" else None)
        other = layout == "swift" and number % 4 == 3
        assert row.get("rejected_video") == (str(clips / "0.mp4") if other else None)
    entries = read_jsonl(output.with_suffix(".report.jsonl"))
    left_out = {entry["where"]: entry["reason"] for entry in entries if entry["what"] == "left out"}
    assert list(left_out) == named[8:] or list(left_out) == named[:7:-1]
    assert left_out[named[GONE]].startswith("its video is not in the folder (of ")
    assert re.search(r"pairs read +10\n +rows written +8\n", printed)
    assert [line.split()[-1] for line in printed.splitlines() if "left out: " in line] == ["1", "1"]


def test_images_as_frames(build: Callable[..., int], tmp_path: Path, videos: Path) -> None:
    """Taken for a video where the user says so; a frame that is missing makes the video missing."""
    frames = [f"4/c01_{number:04d}.jpeg" for number in (1, 2, 3)]
    pairs = [
        {"prompt": "<image><image><image>Who?", "chosen": "A man.", "rejected": "A cat.", "images": images}
        for images in (frames, [*frames, "4/c01_0009.jpeg"])
    ]
    (tmp_path / "trl.json").write_text(json.dumps(pairs))
    assert build(files=("trl.json",)) == 2
    assert build("--images-are-frames", files=("trl.json",)) == 0
    rows = rows_of(tmp_path / "out")
    assert {name: row["video"] for name, row in rows.items()} == {"trl.json[0]": [str(videos / one) for one in frames]}
    (missing,) = read_jsonl(tmp_path / "out" / "rows.report.jsonl")
    assert missing["reason"] == "its video is not in the folder (of 4)"


def test_every_pair_and_every_missing_video_is_accounted_for(
    build: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten pairs and a torn line: 5 rows. Of webvid's three videos one is missing, though two pairs ask for it."""
    assert build() == 0
    printed = capsys.readouterr().out
    found = dict(re.findall(r"^  (\S.*?)  +(\d+)$", printed, re.MULTILINE))
    assert (found["pairs read"], found["rows written"]) == ("11", "5")
    left_out = {name.removeprefix("left out: "): int(n) for name, n in found.items() if name.startswith("left out")}
    assert left_out == {
        "its video is not in the folder (of webvid)": 2,
        "its video is not in the folder (of 17k.jsonl)": 1,
        "its rejected video is not in the folder (of temple.json)": 1,
        "a video that cannot be read": 1,
        "not one JSON object": 1,
    }
    listed = tmp_path / "out" / "rows.missing.txt"
    assert [line for line in printed.splitlines() if "videos are in the folder" in line] == [
        f"17k.jsonl: 0 of 1 videos are in the folder; 1 are missing, and 1 pairs with them: {listed}",
        "star_qa: 2 of 2 videos are in the folder",
        f"temple.json: 2 of 3 videos are in the folder; 1 are missing, and 1 pairs with them: {listed}",
        f"webvid: 2 of 3 videos are in the folder; 1 are missing, and 2 pairs with them: {listed}",
    ]
    assert listed.read_text().splitlines() == ["v_gone", "/mnt/clips/none.mp4", "webvid/gone"]
    assert "17k.jsonl: 6 pairs in the layout llava-hound" in printed and "ignored" not in printed
    report = read_jsonl(tmp_path / "out" / "rows.report.jsonl")
    named = {entry["where"]: entry["detail"] for entry in report if "not in the folder" in entry["reason"]}
    assert named == {
        "17k.jsonl:3": "v_gone not found",
        "17k.jsonl:4": "webvid/gone not found",
        "17k.jsonl:5": "webvid/gone not found",
        "temple.json[2]": "/mnt/clips/none.mp4 not found",
    }


def test_missing_videos_may_come_later(
    build: Callable[..., int], tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build("--allow-missing-videos") == 0
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 9 and rows["17k.jsonl:4"]["video"] == str(videos / "webvid" / "gone")
    assert "note: a row whose video is not in the folder yet" in capsys.readouterr().out


def test_the_card_names_terms_by_layout(build: Callable[..., int], tmp_path: Path) -> None:
    assert build() == 0
    card = (tmp_path / "out" / "rows.card.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["license_name"]) == ("other", "several")
    for part in (
        "their hub page says Apache-2.0",
        "RRPO (Sarkar and Etemad",
        "TEMPLE's repository has no license file",
        "| rrpo.json | rrpo |",
        "| train | 5 | 4 | 1 |",
        "| webvid | 3 | 2 | 1 | 2 |",
    ):
        assert part in card, part
    assert build("--overwrite", files=("17k.jsonl",)) == 0
    card = (tmp_path / "out" / "rows.card.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "apache-2.0" and "RRPO" not in card


def test_the_same_seed_gives_the_same_bytes_and_whole_videos_are_held_out(
    build: Callable[..., int], tmp_path: Path
) -> None:
    written = []
    for seed in ("1", "1", "2", "3", "4"):
        assert build("--val-share", "0.5", "--seed", seed, "--overwrite") == 0
        files = ("rows.jsonl", "rows_val.jsonl", "rows.report.jsonl")
        written.append([(tmp_path / "out" / file).read_bytes() for file in files])
        train, held_out = ({row["video"] for row in read_jsonl(tmp_path / "out" / file)} for file in files[:2])
        assert len(train) == len(held_out) == 2 and not train & held_out
    assert written[0] == written[1] and any(one != written[0] for one in written[2:])


def test_it_trains_the_response_and_the_video_term(
    build: Callable[..., int], train: Callable[..., Run], tmp_path: Path
) -> None:
    assert build(files=("17k.jsonl", "temple.json")) == 0
    run = train(dataset="rows", dataset_dir=str(tmp_path / "out"), media_dir=None, max_steps=1)
    assert run.series("vista/response_rows")[0] > 0 and run.series("vista/video_rows")[0] > 0
    assert run.series("vista/clip_rows") in ([], [0]) and math.isfinite(run.series("loss")[0])


@pytest.mark.parametrize(
    ("files", "more", "sentence"),
    [
        (("17k.jsonl", "17k.jsonl"), (), "two files are called 17k.jsonl"),
        (("gone.json",), (), "gone.json"),
        (("17k.jsonl",), ("--layout", "swift"), "no row is left to write"),
    ],
)
def test_refused(
    build: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    files: tuple[str, ...],
    more: tuple[str, ...],
    sentence: str,
) -> None:
    assert build(*more, files=files) == 2
    assert sentence in capsys.readouterr().err
