"""`vistadpo build` as a user runs it: rows, card, dataset_info.json, what is printed, and what is refused."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import SHARED, Run, needs_shared
from data.barcode_video import codes, write_video
from local_endpoint import serve
from nextgqa_made import LINES, read_jsonl, write_nextgqa
from star_made import star_question

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.commands.build import main
from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import CLIP, KEYFRAME, ViewBuilder
from vistadpo_plugin.datasets.text import sentence

VIDEOS = sorted({line[0] for line in LINES})


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of video 100K read K * 50 + 0, 1, ..., 39; 4 s each; two lie in sub-folders, as VidOR's do."""
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(VIDEOS, start=1):
        place = folder / f"{number:04d}" if number < 3 else folder
        place.mkdir(exist_ok=True)
        write_video(place / f"{name}.mp4", range(number * 50, number * 50 + 40))
    return folder


@pytest.fixture
def build(tmp_path: Path, videos: Path) -> Callable[..., int]:
    """`vistadpo build nextgqa` on the small annotations, into out/rows.jsonl; None drops an argument."""
    annotations = write_nextgqa(tmp_path / "annotations")

    def run(*more: str | Path, **changes: Any) -> int:
        given = {"--annotations": annotations, "--videos": videos, "-o": tmp_path / "out" / "rows.jsonl"}
        given |= {f"--{name}": value for name, value in changes.items()}
        return main(["nextgqa", *[str(part) for pair in given.items() for part in pair], *map(str, more)])

    return run


def views_of(row: dict[str, Any], folder: Path, wanted: str) -> list[int]:
    """What the frames of one view read; 10 frames a second, so a clip shows every frame of its event."""
    grounded = ground(parse_row(row, row["id"]), str(folder), 10.0)
    builder = ViewBuilder(ViewKeys.of(VistaArguments()), 10.0, 100, None, lambda image: image, seed=0)
    return codes(builder.build(grounded, None, {wanted})[wanted])


def test_every_question_becomes_a_row_and_its_event_the_clip(
    build: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build() == 0
    out = tmp_path / "out"
    rows = {row["id"]: row for row in read_jsonl(out / "rows.jsonl")}
    assert list(rows) == [f"nextgqa/{video}/{qid}" for video, qid, *_ in LINES]
    for video, qid, _, asked, options, intervals in LINES:
        row = rows[f"nextgqa/{video}/{qid}"]
        assert row["event"] == intervals
        assert row["chosen"] == sentence(options[0]) and row["prompt"] == asked.capitalize() + "?"
        assert row["rejected"] in [sentence(option) for option in options[1:]]
        assert row["rejected_irrelevant"] in [sentence(line[4][0]) for line in LINES if line[0] != video]
    # Frames 5 to 10 and 20 to 35 are [0.5, 1.0] and [2.0, 3.5]; ends included. The first video's frames begin at 50.
    assert views_of(rows["nextgqa/1001/3"], out, CLIP) == [*range(55, 61), *range(70, 86)]

    printed = capsys.readouterr().out.replace(str(tmp_path), "")
    assert [line.split() for line in printed.splitlines()[:2]] == [["questions", "read", "5"], ["rows", "written", "5"]]
    assert "train: 5 rows about 4 videos in /out/rows.jsonl\n" in printed
    assert printed.endswith("In a recipe:\n  dataset: rows\n  dataset_dir: /out\n")


def test_the_data_set_works_in_a_recipe_at_once(
    build: Callable[..., int], train: Callable[..., Run], tmp_path: Path
) -> None:
    assert build("--val-share", "0.5") == 0
    data = {"dataset": "rows", "eval_dataset": "rows_val", "dataset_dir": str(tmp_path / "out"), "media_dir": None}
    run = train(**data, max_steps=1, do_eval=True, eval_strategy="steps", eval_steps=1)
    assert run.series("vista/clip_rows")[0] > 0 and math.isfinite(run.series("eval_loss")[0])


def test_paths_hold_from_every_folder(
    build: Callable[..., int], tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative --videos is relative to where the command ran; the rows are relative to their own file."""
    monkeypatch.chdir(videos)
    assert build(videos="0001", **{"allow-missing-videos": "--overwrite"}) == 0
    monkeypatch.chdir("/")
    row, *_, missing = read_jsonl(tmp_path / "out" / "rows.jsonl")
    assert not os.path.isabs(row["video"]) and row["video"].endswith("0001/1001.mp4")
    assert views_of(row, tmp_path / "out", CLIP) == list(range(62, 79))  # [1.2, 2.8]
    assert missing["video"].endswith("0001/1004.mp4")


def test_missing_videos_are_accounted_for(
    build: Callable[..., int], tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(videos=videos / "0002") == 0
    assert [row["id"] for row in read_jsonl(tmp_path / "out" / "rows.jsonl")] == ["nextgqa/1002/0"]
    printed = capsys.readouterr().out
    assert "left out: its video is not in the folder" in printed
    assert "nextgqa/1001/0: 1001 not found" in printed and "... and 1 more" in printed
    report = read_jsonl(tmp_path / "out" / "rows.report.jsonl")
    assert [entry["where"] for entry in report if entry["what"] == "left out"] == [
        f"nextgqa/{video}/{qid}" for video, qid, *_ in LINES if video != "1002"
    ]
    # The only video has no other to take an irrelevant answer from.
    assert "rejected_irrelevant" not in read_jsonl(tmp_path / "out" / "rows.jsonl")[0]
    assert "no irrelevant answer" in printed

    empty = tmp_path / "empty"
    empty.mkdir()
    assert build("--overwrite", videos=empty) == 2
    assert "no row is left to write; --allow-missing-videos goes without videos" in capsys.readouterr().err
    nothing = write_nextgqa(tmp_path / "nothing", [(*LINES[0][:5], None)])
    assert build("--overwrite", annotations=nothing) == 2
    assert "no row is left to write.\n" in capsys.readouterr().err
    assert build("--overwrite", "--allow-missing-videos", videos=empty) == 0
    assert len(read_jsonl(tmp_path / "out" / "rows.jsonl")) == 5


def test_rows_are_held_against_their_videos(
    tmp_path: Path, build: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    late = ("1003", "8", "TN", "what happens later", ("sit", "stand", "walk", "run", "lie"), [[3.0, 40.0]])
    a_little = ("1004", "8", "TN", "what happens later", ("sit", "stand", "walk", "run", "lie"), [[3.0, 4.5]])
    annotations = write_nextgqa(tmp_path / "more", [*LINES, late, a_little])
    assert build(annotations=annotations) == 0
    printed = capsys.readouterr().out
    assert "left out: an event outside its video" in printed
    assert re.search(r"nextgqa/1003/8: `event` \[3, 40\] lies outside the video.*which lasts 4\.00 s", printed)
    assert "note: an event ends a little behind its video and is cut there" in printed
    assert len(read_jsonl(tmp_path / "out" / "rows.jsonl")) == 6


def test_same_bytes_whatever_the_order_and_the_hash_seed(tmp_path: Path, videos: Path) -> None:
    """In processes of their own, which also shows that neither torch nor the host is imported."""
    written = []
    for hash_seed, lines in (("1", LINES), ("2", LINES[::-1])):
        folder = tmp_path / hash_seed
        write_nextgqa(folder / "annotations", lines)
        code = (
            "import sys; from vistadpo_plugin.commands.main import main; code = main(sys.argv[1:]); "
            "sys.exit(code or bool({'torch', 'llamafactory', 'datasets'} & set(sys.modules)))"
        )
        command = ["build", "nextgqa", "--annotations", "annotations", "--videos", videos, "-o", "out/rows.jsonl"]
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--val-share", "0.3", "--seed", "7"],
            cwd=folder, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        written.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    assert set(written[0]) == {"rows.jsonl", "rows_val.jsonl", "rows.card.md", "dataset_info.json"}
    assert written[0] == written[1]


def test_validation_holds_out_videos_and_their_texts(build: Callable[..., int], tmp_path: Path) -> None:
    texts = {video: {sentence(line[4][0]) for line in LINES if line[0] == video} for video in VIDEOS}
    splits = set()
    for seed in range(6):
        assert build("--overwrite", "--val-share", "0.5", "--seed", seed) == 0
        train, validation = (read_jsonl(tmp_path / "out" / name) for name in ("rows.jsonl", "rows_val.jsonl"))
        own = [{row["id"].split("/")[1] for row in rows} for rows in (train, validation)]
        assert len(train) + len(validation) == 5 and not own[0] & own[1] and len(own[1]) == 2
        for rows, here in ((train, own[0]), (validation, own[1])):
            for row in rows:
                assert any(row["rejected_irrelevant"] in texts[video] for video in here)
        splits.add(frozenset(own[1]))
    assert len(splits) > 1
    # A validation file of before would hold videos that are trained on now.
    assert build("--overwrite") == 0
    assert not (tmp_path / "out" / "rows_val.jsonl").exists()
    assert set(json.loads((tmp_path / "out" / "dataset_info.json").read_text())) == {"rows"}
    # A file of that name which is no validation file of ours is not touched.
    (tmp_path / "out" / "rows_val.jsonl").write_text("mine")
    assert build("--overwrite") == 0
    assert (tmp_path / "out" / "rows_val.jsonl").read_text() == "mine"


def test_other_data_sets_stay_listed(
    build: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "out" / "dataset_info.json"
    info.parent.mkdir()
    others = {"mine": {"file_name": "mine.json", "columns": {"prompt": "frage"}}, "rows_val": {"hf_hub_url": "a/b"}}
    info.write_text(json.dumps(others))
    assert build() == 0
    assert json.loads(info.read_text()) == {**others, "rows": {"file_name": "rows.jsonl", "formatting": "vistadpo"}}

    assert build("--overwrite", "--name", "mine") == 2
    assert "lists another data set named 'mine' (mine.json); choose a name with --name" in capsys.readouterr().err
    assert build("--overwrite", "--val-share", "0.5") == 2
    assert "another data set named 'rows_val' (not a file)" in capsys.readouterr().err
    info.write_text("{")
    assert build("--overwrite") == 2
    assert "is not valid JSON" in capsys.readouterr().err and info.read_text() == "{"


def test_what_is_there_is_not_replaced_unasked(
    build: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build() == 0
    before = (tmp_path / "out" / "rows.jsonl").read_bytes()
    assert build("--seed", "1") == 2
    assert "rows.jsonl is there already; give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before
    assert build("--seed", "1", "--overwrite") == 0


def test_the_data_card(build: Callable[..., int], tmp_path: Path) -> None:
    assert build("--val-share", "0.25", "--seed", "5", "--name", "mine") == 0
    text = (tmp_path / "out" / "mine.card.md").read_text()
    _, front, body = text.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["license"] == "mit" and meta["size_categories"] == ["n<1K"] and meta["language_creators"] == ["found"]
    assert meta["configs"][0]["data_files"] == [
        {"split": "train", "path": "rows.jsonl"},
        {"split": "validation", "path": "rows_val.jsonl"},
    ]
    assert f"vistadpo build nextgqa --annotations {tmp_path}" in body and "Seed 5." in body
    assert "| questions read | 5 |\n| rows written | 5 |" in body
    assert "| CW | 3 |\n| TN | 2 |" in body
    assert "No language model took part" in body


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"videos": "nowhere"}, "the folder of videos nowhere does not exist"),
        ({"annotations": "nowhere"}, "nowhere does not hold SPLIT.csv and gsub_SPLIT.json"),
        ({"split": "test"}, "does not hold test.csv and gsub_test.json; splits with both: val"),
        ({"-o": "rows.json"}, "--output has to end in .jsonl"),
    ],
)  # fmt: skip
def test_wrong_arguments_get_a_sentence(
    build: Callable[..., int], changes: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["-o", changes.pop("-o")] if "-o" in changes else []
    assert build(*more, **changes) == 2
    error = capsys.readouterr().err
    assert error.startswith("vistadpo build: ") and sentence in error and "Traceback" not in error


def test_star(tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frame 21 of video 1001 reads 50 + 20: numbers count from 1. --fps 20 halves all times: frame 28 is at 1.35 s."""
    items = [
        star_question("Interaction_T1_1", video_id="1001"),
        star_question("Interaction_T1_2", video_id="1003", answer="The table."),
        star_question("Prediction_T3_1", video_id="1001"),
    ]
    (tmp_path / "star.json").write_text(json.dumps(items))
    common = ["star", "--annotations", tmp_path / "star.json", "--videos", videos, "-o"]
    assert main([str(part) for part in (*common, tmp_path / "a" / "star.jsonl")]) == 0
    first, second = read_jsonl(tmp_path / "a" / "star.jsonl")
    assert first["keyframe"] == 2.0 and first["box"] == [[6.0, 7.0, 16.0, 24.0]]
    assert views_of(first, tmp_path / "a", KEYFRAME) == [70]
    assert views_of(first, tmp_path / "a", CLIP) == list(range(60, 81))
    assert "keyframe" not in second and second["event"] == [[1.0, 3.0]]
    printed = capsys.readouterr().out
    assert "left out: question type Prediction, which --types does not name" in printed
    assert re.search("note: no keyframe and box: the object has no box in any annotated frame +1$", printed, re.M)
    card = (tmp_path / "a" / "star.card.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "other" and "could not be verified" in card

    more = ("--fps", "20", "--types", "Interaction", "Prediction")
    assert main([str(part) for part in (*common, tmp_path / "b" / "star.jsonl", *more)]) == 0
    rows = read_jsonl(tmp_path / "b" / "star.jsonl")
    assert [row.get("keyframe") for row in rows] == [1.35, None, 1.35]


def flips_and_keeps(question: str, option: str, before: int) -> Any:
    """Full sentences for most; a flip for one right option, and no reply for one wrong option's row."""
    if option == "Unwrap it.":
        return "He does not unwrap it."
    if option == "Wash the dishes.":
        return 500, b"{}"
    return f"I see that {option[0].lower()}{option[1:]}"


def test_rewriting(
    build: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    assert build() == 0
    plain = {row["id"]: row for row in read_jsonl(tmp_path / "out" / "rows.jsonl")}
    capsys.readouterr()
    with serve(flips_and_keeps) as endpoint:
        rewrite = (
            "--overwrite",
            "--rewrite",
            "--model",
            "m-1",
            "--base-url",
            endpoint.url,
            "--requests-per-minute",
            "60000",
        )
        assert build(*rewrite) == 0
        asked = len(endpoint.asked)
        again = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if "cache" not in path.name}
        assert build(*rewrite) == 0
        # Only the one that got no reply is asked for again, with all its retries.
        assert {option for _, option in endpoint.asked[asked:]} == {"Wash the dishes."}
        assert again == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    kept, rewritten = 0, 0
    fields = ("chosen", "rejected", "rejected_irrelevant")
    for row in read_jsonl(tmp_path / "out" / "rows.jsonl"):
        before = plain[row["id"]]
        if {"Unwrap it.", "Wash the dishes."} & {before[name] for name in fields}:
            assert row == before  # all answers of a row, or none
            kept += 1
        else:
            for name in fields:
                assert row[name] == f"I see that {before[name][0].lower()}{before[name][1:]}"
            rewritten += 1
    assert kept and rewritten and kept + rewritten == 5
    printed = capsys.readouterr().out
    assert "rewrite not taken, row kept as it is: a negation is added or dropped" in printed
    assert "rewrite not taken, row kept as it is: no reply" in printed
    report = read_jsonl(tmp_path / "out" / "rows.report.jsonl")
    assert any(
        entry["where"] == "nextgqa/1001/0" and entry["detail"] == "chosen: 'Unwrap it.' -> 'He does not unwrap it.'"
        for entry in report
    )
    card = (tmp_path / "out" / "rows.card.md").read_text()
    assert "rewritten by `m-1`" in card and "machine-generated" in card
    assert "secret-key" not in "".join(path.read_text() for path in (tmp_path / "out").iterdir())


def test_a_killed_rewriting_goes_on_where_it_was(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.chdir(tmp_path)
    write_nextgqa(tmp_path / "annotations")
    killed: list[subprocess.Popen[str]] = []

    def kills(question: str, option: str, before: int) -> Any:
        if len(endpoint.asked) == 5 and before == 0:
            killed[0].kill()
        return f"I see that {option[0].lower()}{option[1:]}"

    with serve(kills) as endpoint:
        arguments = ["nextgqa", "--annotations", "annotations", "--videos", str(videos), "-o", "rows.jsonl"]
        arguments += ["--rewrite", "--model", "m", "--base-url", endpoint.url, "--parallel", "1"]
        arguments += ["--requests-per-minute", "6000"]
        code = "import sys; from vistadpo_plugin.commands.build import main; sys.exit(main(sys.argv[1:]))"
        killed.append(subprocess.Popen([sys.executable, "-c", code, *arguments], text=True))
        assert killed[0].wait(timeout=60) != 0 and not (tmp_path / "rows.jsonl").exists()
        assert main(arguments) == 0
    # Four were answered; the fifth, during which the process died, is the only one asked twice.
    twice = [asked for asked, times in Counter(endpoint.asked).items() if times > 1]
    assert twice == [endpoint.asked[4]] and endpoint.asked.count(twice[0]) == 2
    assert all(row["chosen"].startswith("I see that") for row in read_jsonl(tmp_path / "rows.jsonl"))


def test_rewriting_needs_a_model_and_a_key(
    build: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        build("--rewrite")
    assert "--rewrite needs --model" in capsys.readouterr().err
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert build("--rewrite", "--model", "m") == 2
    assert "--rewrite needs a key in OPENAI_API_KEY" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@needs_shared
def test_the_real_validation_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    arguments = ["nextgqa", "--annotations", str(SHARED / "data" / "nextgqa"), "--videos", str(tmp_path / "videos")]
    arguments += ["-o", str(tmp_path / "rows.jsonl"), "--allow-missing-videos", "--val-share", "0.1"]
    assert main(arguments) == 0
    located = json.loads((SHARED / "data" / "nextgqa" / "gsub_val.json").read_text())
    train, validation = (read_jsonl(tmp_path / name) for name in ("rows.jsonl", "rows_val.jsonl"))
    assert len(train) + len(validation) == 3358
    own = [{row["id"].split("/")[1] for row in rows} for rows in (train, validation)]
    assert not own[0] & own[1] and len(own[1]) == 57  # a tenth of 567, rounded
    for row in train + validation:
        _, video, qid = row["id"].split("/")
        wanted = sorted(map(tuple, located[video]["location"][qid]))
        parsed = parse_row(row, row["id"])
        assert len({parsed.chosen, parsed.rejected, parsed.rejected_irrelevant}) == 3 and parsed.notes == ()
        if all(first[1] < second[0] for first, second in zip(wanted, wanted[1:], strict=False)):
            assert list(parsed.events) == wanted
    printed = capsys.readouterr().out
    assert "left out" not in printed and "3358" in printed
