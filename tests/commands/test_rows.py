"""`vistadpo rows` as a user runs it: what every verb writes, says and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED, needs_shared, write_rows
from data.barcode_video import write_video
from PIL import Image

from vistadpo_plugin.commands.main import main
from vistadpo_plugin.commands.rows import VERBS
from vistadpo_plugin.data.rows.schema import RowError, parse_row

TEXTS = {"prompt": "What happens?", "chosen": "A bar turns white.", "rejected": "A bar turns red."}
KINDS = ("object", "action")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows 0 to 19 of ten videos, two each, of two kinds; v9.mp4 has the content of v0.mp4."""
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    for number in range(9):
        write_video(folder / "videos" / f"v{number}.mp4", range(20 * number, 20 * number + 20))
    (folder / "videos" / "v9.mp4").write_bytes((folder / "videos" / "v0.mp4").read_bytes())
    rows = [
        {
            "id": n,
            "video": f"videos/v{n // 2}.mp4",
            **TEXTS,
            "prompt": f"What happens, {n}?",
            "kind": KINDS[n % 2],
            "event": [0.5, 1.0 + n / 40],
            "mine": [n],
        }
        for n in range(20)
    ]
    return write_rows(folder, rows)


@pytest.fixture
def rows(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str | Path) -> tuple[int, str, str]:
        code = main(["rows", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def test_without_a_verb_or_with_a_wrong_one(rows: Callable[..., tuple[int, str, str]]) -> None:
    code, printed, _ = rows()
    assert code == 0 and all(f"\n  {verb} " in printed for verb in VERBS)
    code, _, said = rows("spilt")
    assert code == 2 and "unknown verb 'spilt'" in said


def test_split(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """v0 and v9 are one recording of four rows, so there are 9 recordings; 30 % and 20 % of 20 rows are 6 and 4."""
    out = tmp_path / "out" / "set.jsonl"
    code, printed, said = rows("split", data, "-o", out, "--val-share", "0.3", "--test-share", "0.2", "--seed", "4")
    assert (code, said) == (0, "")
    parts = {part: read(out.with_name(f"set{part}.jsonl")) for part in ("", "_val", "_test")}
    assert {part: len(members) for part, members in parts.items()} == {"": 10, "_val": 6, "_test": 4}
    given = {row["id"]: {**row, "video": f"../data/{row['video']}"} for row in read(data)}
    written = [row for members in parts.values() for row in members]
    assert sorted(row["id"] for row in written) == list(range(20))
    assert all(row == given[row["id"]] for row in written)
    videos = {part: {row["video"].replace("v9", "v0") for row in members} for part, members in parts.items()}
    assert sum(map(len, videos.values())) == 9
    for members in parts.values():  # each video has a row of either kind
        assert sum(row["kind"] == "action" for row in members) * 2 == len(members)
    entries = json.loads((out.parent / "dataset_info.json").read_text())
    assert entries == {
        f"set{part}": {"file_name": f"set{part}.jsonl", "formatting": "vistadpo"} for part in ("", "_val", "_test")
    }
    assert "train: 10 rows (50.0%)" in printed and "action: train 5, val 3, test 2 of 10" in printed
    assert printed.endswith(f"In a recipe:\n  dataset: set\n  eval_dataset: set_val\n  dataset_dir: {out.parent}\n")

    code, _, said = rows("split", data, "-o", out)
    assert code == 2 and "set.jsonl is there already; give --overwrite" in said
    code, _, _ = rows("split", data, "-o", out, "--val-share", "0.1", "--overwrite")
    assert code == 0 and not out.with_name("set_test.jsonl").exists()
    assert set(json.loads((out.parent / "dataset_info.json").read_text())) == {"set", "set_val"}


def test_one_seed_writes_the_same_bytes(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert rows("split", data, "-o", tmp_path / name / "s.jsonl", "--val-share", "0.4", "--seed", seed)[0] == 0
    first, again, other = ((tmp_path / name / "s_val.jsonl").read_bytes() for name in "abc")
    assert first == again != other


def test_split_into_the_folder_of_the_data(data: Path, rows: Callable[..., tuple[int, str, str]]) -> None:
    """No path changes, so the lines are those of the input, and the entry of the whole set stays."""
    assert rows("split", data, "-o", data.with_name("part.jsonl"))[0] == 0
    lines = [line for name in ("part", "part_val") for line in data.with_name(f"{name}.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(data.read_text().splitlines())
    assert set(json.loads(data.with_name("dataset_info.json").read_text())) == {"rows", "part", "part_val"}
    code, _, said = rows("split", data, "-o", data, "--overwrite")
    assert code == 2 and "rows.jsonl is read as input" in said


def test_sample(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    out = tmp_path / "few.jsonl"
    code, printed, _ = rows("sample", data, "-o", out, "-n", 3, "--by", "video")
    kept = read(out)
    assert code == 0 and len({row["video"].replace("v9", "v0") for row in kept}) == 3
    named = {row["video"].removeprefix("data/") for row in kept}
    assert [row["id"] for row in kept] == [row["id"] for row in read(data) if row["video"] in named]
    assert [line.split() for line in printed.splitlines()[:3]] == [
        ["rows", "read", "20"],
        ["rows", "written", str(len(kept))],
        ["left", "out:", "not", "drawn", str(20 - len(kept))],
    ]
    assert rows("sample", data, "-o", tmp_path / "r.jsonl", "-n", 7)[0] == 0 and len(read(tmp_path / "r.jsonl")) == 7
    code, _, said = rows("sample", data, "-o", tmp_path / "m.jsonl", "-n", 10, "--by", "video")
    assert code == 2 and "--count 10: of videos, 10 are wanted and there are 9." in said


def test_filter(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Events last 0.5 + n / 40 s: from row 10 on 0.75 s and more, of which those of odd numbers are actions."""
    out = tmp_path / "actions.jsonl"
    code, printed, _ = rows("filter", data, "-o", out, "--where", 'kind == "action" and event_seconds > 0.74')
    assert code == 0 and [row["id"] for row in read(out)] == [11, 13, 15, 17, 19]
    assert [row["video"] for row in read(out)] == [f"data/videos/v{n}.mp4" for n in range(5, 10)]
    assert "left out: it is not true of the row 15" in " ".join(printed.split())
    code, printed, said = rows("filter", data, "-o", tmp_path / "x.jsonl", "--where", "keyframe > 3")
    assert code == 2 and "no row is left to write" in said and not (tmp_path / "x.jsonl").exists()
    assert "left out: it compares a field that the row lacks 20" in " ".join(printed.split())
    code, _, said = rows("filter", data, "-o", tmp_path / "x.jsonl", "--where", "knd == 1")
    assert code == 2 and "character 1: no row has a field knd; did you mean kind?\n  knd == 1\n  ^" in said


def test_merge(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Five rows of a filtered copy are known again, from another folder; one corrected by hand is named and kept."""
    part = tmp_path / "part" / "actions.jsonl"
    assert rows("filter", data, "-o", part, "--where", 'kind == "action" and id > 10')[0] == 0
    lines = part.read_text().splitlines()
    part.write_text("\n".join([lines[0].replace('"mine": [11]', '"mine": "corrected"'), *lines[1:]]))
    out = tmp_path / "all" / "rows.jsonl"
    code, printed, _ = rows("merge", data, part, "-o", out)
    made = read(out)
    assert code == 0 and [row["id"] for row in made] == [*range(20), 11] and made[-1]["mine"] == "corrected"
    assert {row["video"] for row in made} == {f"../data/videos/v{n}.mp4" for n in range(10)}
    assert "left out: a copy of another row, all fields the same" in printed
    report = read(out.with_name("rows.report.jsonl"))
    where = f"{part}:1 (id 11)"
    assert [(entry["where"], entry["detail"]) for entry in report] == [
        *((f"{part}:{line} (id {n})", f"as {data}:{n + 1} (id {n})") for line, n in enumerate((13, 15, 17, 19), 2)),
        (where, f"as {data}:12 (id 11)"), (where, f"as {data}:12 (id 11)"),
    ]  # fmt: skip
    assert [entry["reason"] for entry in report[4:]] == [
        "its id is that of an earlier row",
        "video, question and answers are those of an earlier row, other fields are not",
    ]


def test_a_bad_row_stops_every_verb_or_is_left_out(
    data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    data.write_text(data.read_text() + '{"id": 99, "video": "videos/v1.mp4"}\n')
    out = tmp_path / "out.jsonl"
    for verb, *more in (("split",), ("merge",), ("sample", "-n", "2"), ("filter", "--where", "kind"), ("stats",)):
        target = [] if verb == "stats" else ["-o", out]
        code, _, said = rows(verb, data, *target, *more)
        assert code == 2 and not out.exists()
        assert f"vistadpo rows {verb}: 1 row of rows.jsonl cannot be read:" in said and f"{data}:21 (id 99): `" in said
    code, printed, _ = rows("merge", data, "-o", out, "--on-bad-row", "skip")
    assert code == 0 and len(read(out)) == 20 and "left out: missing-text" in printed
    assert [entry["where"] for entry in read(out.with_name("out.report.jsonl"))] == [f"{data}:21 (id 99)"]


def test_a_set_by_its_name(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    words = ("sample", "rows", "--dataset-dir", data.parent, "-n", 20, "-o", out)
    assert rows(*words)[0] == 0 and len(read(out)) == 20
    code, _, said = rows("sample", "gone", "--dataset-dir", data.parent, "-n", 1, "-o", out, "--overwrite")
    assert code == 2 and "has no data set 'gone'" in said
    code, _, said = rows(*words, "--overwrite", "--media-dir", tmp_path / "nowhere")
    assert code == 2 and "no such folder" in said


def test_stats(data: Path, rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Nine recordings of 2 s; the median event is that of rows 9 and 10, 0.5 + 9.5 / 40 = 0.74 s, 37 % of 2 s."""
    picture = tmp_path / "rows.png"
    code, printed, said = rows("stats", data, "--by", "kind", "--png", picture)
    assert (code, said) == (0, "")
    lines = [line.split() for line in printed.splitlines()]
    assert "all 20 9 2.0 20 0.7 37% 0 - 18 16 -".split() in lines
    assert "object 10 9 2.0 10 0.7 36% 0 - 18 16 -".split() in lines
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
    code, _, said = rows("stats", data, "--no-media", "--png", picture)
    assert code == 2 and "rows.png is there already; give --overwrite" in said
    code, printed, _ = rows("stats", data, "--no-media")
    assert code == 0 and "rows.jsonl 20 9 - 20 0.7 - 0 - 18 16 -".split() in [
        line.split() for line in printed.splitlines()
    ]


@needs_shared
def test_the_released_sample_goes_through_every_verb(rows: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """635 rows in the released layout, one with an empty answer; no video is there."""
    sample = SHARED / "data" / "object_set.jsonl"
    given = {}
    for number, line in enumerate(sample.read_text().splitlines(), 1):
        try:
            parse_row(line, str(number))
        except RowError:
            continue
        given[number] = json.loads(line)
    assert len(given) == 634
    skip = ("--on-bad-row", "skip", "--media-dir", tmp_path)
    out = tmp_path / "set.jsonl"
    code, _, said = rows("split", sample, "-o", out, *skip)
    assert code == 0 and "videos not found" in said
    train, val = read(out), read(tmp_path / "set_val.jsonl")
    key = {json.dumps(row, sort_keys=True) for row in given.values()}
    assert len(train) + len(val) == 634 and {json.dumps(row, sort_keys=True) for row in train + val} <= key
    assert not {row["video"] for row in train} & {row["video"] for row in val}
    assert rows("merge", out, tmp_path / "set_val.jsonl", "-o", tmp_path / "again.jsonl", "--keep-copies")[0] == 0
    assert len(read(tmp_path / "again.jsonl")) == 634
    assert rows("filter", sample, "-o", tmp_path / "big.jsonl", "--where", "box_area > 10000", *skip)[0] == 0
    large = [
        row for row in given.values() if (box := parse_row(row, "")).boxes and box.boxes[0][2] * box.boxes[0][3] > 1e4
    ]
    assert read(tmp_path / "big.jsonl") == large
    code, printed, _ = rows("stats", sample, "--no-media", "--on-bad-row", "skip", "--png", tmp_path / "s.png")
    assert code == 0 and "object_set.jsonl 634 " in " ".join(printed.split())
