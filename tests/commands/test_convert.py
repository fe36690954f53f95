"""`vistadpo convert`: what every layout keeps, which frames are cut, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import SHARED, needs_shared, write_dataset_info, write_rows
from data.barcode_video import codes, draw, read_code, write_images, write_video
from PIL import Image

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.commands.convert import main
from vistadpo_plugin.data.rows.grounding import ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.video.video import images_in
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, KEYFRAME, ViewBuilder

TEXTS = {"prompt": "What happens?", "chosen": "A bar turns white.", "rejected": "A bar turns red."}
FULL = {
    "id": "kitchen/1", "video": "own.mp4", **TEXTS, "rejected_irrelevant": "A dog barks.",
    "event": [1.0, 2.0], "keyframe": 1.5, "box": [8, 4, 16, 20],
}  # fmt: skip


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """own.mp4 and second.mp4 show 0 to 39 and 100 to 139, 10 frames a second; frames/ are twelve images."""
    folder = tmp_path / "media"
    folder.mkdir()
    write_video(folder / "own.mp4", range(40))
    write_video(folder / "second.mp4", range(100, 140))
    write_images(folder / "frames", range(60, 72))
    draw(200).save(folder / "key.png")
    return folder


@pytest.fixture
def convert(media: Path, tmp_path: Path) -> Callable[..., Any]:
    """Convert `rows` and return (code, rows written); `step` numbers the output folder."""
    steps: list[Path] = []

    def run(rows: list[Any] | Path, layout: str, *more: str, source: Path = media) -> tuple[int, list[dict[str, Any]]]:
        path = rows if isinstance(rows, Path) else write_rows(source, rows)
        steps.append(tmp_path / f"out{len(steps)}" / "rows.jsonl")
        code = main([str(path), "--to", layout, "-o", str(steps[-1]), *more])
        run.path, run.folder = steps[-1], steps[-1].parent
        return code, read(steps[-1])

    return run


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def shown(folder: Path) -> list[int]:
    return [read_code(Image.open(path)) for path in images_in(str(folder))]


def test_to_the_released_layout_and_back(
    convert: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """[1.0, 2.0] holds frames 10 to 20, 1.1 s: at 5 a second 6 of them, floor(i 10 / 5). Outside, 21 to 39 are 1.9 s:
    10 of 19, floor(i 18 / 9)."""
    code, (row,) = convert([FULL], "released", "--fps", "5")
    assert code == 0
    assert row == {
        "id": "kitchen/1", "video": "../media/own.mp4", **TEXTS, "rejected_2": "A dog barks.",
        "bbox": "'x': 8.0, 'y': 4.0, 'w': 16.0, 'h': 20.0",
        "clip_w": "clip/clip_w/kitchen/1", "clip_l": "clip/clip_l/kitchen/1", "frame": "frame/kitchen/1",
    }  # fmt: skip
    assert list(row) == "id video prompt chosen rejected rejected_2 bbox clip_w clip_l frame".split()
    first = convert.folder
    assert shown(first / row["clip_w"]) == [10, 12, 14, 16, 18, 20]
    assert shown(first / row["clip_l"]) == list(range(21, 40, 2))
    assert shown(first / row["frame"]) == [15]
    printed = capsys.readouterr().out
    assert "note: its event is frames now, the seconds are not kept" in printed
    assert "note: its keyframe is an image now, the second is not kept" in printed

    code, (native,) = convert(convert.path, "native")
    assert code == 0 and native["box"] == [8.0, 4.0, 16.0, 20.0] and native["rejected_irrelevant"] == "A dog barks."
    assert native["keyframe"] == "../out0/frame/kitchen/1" and native["clip_w"] == "../out0/clip/clip_w/kitchen/1"
    assert "note:" not in capsys.readouterr().out
    code, (again,) = convert(convert.path, "released")
    assert code == 0 and "note:" not in capsys.readouterr().out
    # Nothing is cut a second time: the folders are those of the first conversion.
    assert again == {**row, **{name: f"../out0/{row[name]}" for name in ("clip_w", "clip_l", "frame")}}
    assert not (convert.folder / "clip").exists()


def test_both_layouts_show_training_the_same_frames(convert: Callable[..., Any], media: Path) -> None:
    _, (released,) = convert([FULL], "released", "--fps", "10")
    builder = ViewBuilder(ViewKeys.of(VistaArguments()), 10.0, 100, 8, lambda image: image, seed=0)
    wanted = {CLIP, CLIP_NEGATIVE, KEYFRAME}
    views = [
        builder.build(ground(parse_row(row, "r"), str(folder), 10.0), None, wanted)
        for row, folder in ((FULL, media), (released, convert.folder))
    ]
    for view in wanted:
        assert codes(views[0][view]) == codes(views[1][view])


def test_rejected_views_of_a_rows_own_go_along(
    convert: Callable[..., Any], media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the released layout and to native names with their paths changed, and no `clip_l` is cut beside one; counted
    where the format has no place."""
    own = {
        "rejected_video": ["second.mp4", ["frames/frame_1.png"]],
        "rejected_clip": "second",
        "rejected_keyframe": "key.png",
    }
    code, (released,) = convert([{**FULL, **own}], "released")
    assert code == 0 and "clip_l" not in released and len(shown(convert.folder / released["clip_w"])) == 2
    rows = {str(media): {**FULL, **own}, str(convert.folder): released}
    code, (native,) = convert(convert.path, "native")
    rows[str(convert.folder)] = native
    files = []
    for folder, row in rows.items():
        found = ground(parse_row(row, "r"), folder, 2.0)
        names = [
            found.rejected_videos[0],
            found.rejected_videos[1][0],
            *found.rejected_clips,
            *found.rejected_keyframes,
        ]
        files.append([Path(name).resolve().name for name in names])
    assert files == [["second.mp4", "frame_1.png", "second.mp4", "key.png"]] * len(rows)
    capsys.readouterr()
    convert([{**FULL, **own}], "sharegpt")
    printed = capsys.readouterr().out
    for name in own:
        assert f"note: `{name}` has no place in the format" in printed


def test_several_rows_of_one_video_and_ids_that_repeat(convert: Callable[..., Any]) -> None:
    rows = [FULL, {**FULL, "event": [2.0, 3.0]}, {**FULL, "id": "x", "video": "second.mp4", "keyframe": 0}]
    code, made = convert(rows, "released")
    assert code == 0
    folders = [[row[name] for row in made] for name in ("clip_w", "clip_l", "frame")]
    assert all(len(set(names)) == 3 for names in folders)
    assert [shown(convert.folder / name)[0] for name in folders[0]] == [10, 20, 110]
    assert [shown(convert.folder / name) for name in folders[2]] == [[15], [15], [100]]


def test_what_the_released_layout_cannot_hold_is_counted(
    convert: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {**FULL, "event": [[0.5, 1.0], [2.0, 2.5]], "box": [[0, 0, 4, 4], [8, 4, 16, 20]]},
        {**FULL, "event": [0.0, 3.9]},  # nothing is left outside
        {"video": [f"frames/frame_{number}.png" for number in (1, 3, 12)], **TEXTS, "keyframe": "key.png"},
        {"id": 7, "video": "frames", **TEXTS, "box": [3, 3, 0, 9], "mine": [1], "rejected_2": ""},
    ]
    code, (first, second, third, fourth) = convert(rows, "released", "--fps", "10")
    assert code == 0
    assert shown(convert.folder / first["clip_w"]) == [*range(5, 11), *range(20, 26)]
    assert first["bbox"] == "'x': 8.0, 'y': 4.0, 'w': 16.0, 'h': 20.0"
    assert "clip_w" not in second and "clip_l" not in second and "event" not in second
    assert third["video"] == "video/rows.jsonl_3" and shown(convert.folder / third["video"]) == [60, 62, 71]
    assert shown(convert.folder / third["frame"]) == [200]
    assert fourth["bbox"] == "'x': 3.0, 'y': 3.0, 'w': 0.0, 'h': 9.0" and fourth["mine"] == [1]
    assert (fourth["id"], fourth["video"], fourth["rejected_2"]) == ("7", "../media/frames", "")
    counted = dict(
        line.strip().removeprefix("note: ").rsplit(maxsplit=1)
        for line in capsys.readouterr().out.splitlines() if "note: " in line
    )  # fmt: skip
    assert {name.strip(): int(count) for name, count in counted.items()} == {
        "its keyframe is an image now, the second is not kept": 2,
        "its event is frames now, the seconds are not kept": 1,
        "several events: clip_w holds their frames as one clip": 1,
        "several boxes: bbox holds one, the largest is kept": 1,
        "an event without clip folders: clip_w and clip_l go together": 1,
        "a list of frames: video is a folder of copies now": 1,
    }


def test_lists_of_rejected_answers_stay_or_are_counted(
    convert: Callable[..., Any], media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Native names keep the list; the two other layouts take the first of it, and say so."""
    phrases = {"chosen": ["white"], "rejected": ["First"], "rejected[1]": ["Second"]}
    row = {**FULL, "rejected": ["First.", "Second."], "rejected_weights": [0.8, 0.2], "phrases": phrases}
    _, (native,) = convert([row], "native")
    assert (native["rejected"], native["rejected_weights"]) == (row["rejected"], row["rejected_weights"])
    capsys.readouterr()
    _, (released,) = convert([row], "released")
    assert released["rejected"] == "First." and "rejected_weights" not in released
    assert native["phrases"] == phrases
    assert released["phrases"] == {"chosen": ["white"], "rejected": ["First"]}
    assert "several rejected answers: rejected holds one, the first is kept" in capsys.readouterr().out
    _, (plain,) = convert([row], "sharegpt")
    assert plain["rejected"]["value"] == "First."
    printed = capsys.readouterr().out
    assert "several rejected answers: the format has a place for the first" in printed
    assert "`rejected_weights` has no place in the format" in printed and "`phrases` has no place in" in printed


def test_what_cannot_be_read_is_left_out_and_the_code_says_so(
    convert: Callable[..., Any], media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (media / "second.mp4").read_bytes()
    (media / "broken.mp4").write_bytes(whole[:300] + bytes(500) + whole[800:])
    rows = [
        FULL,
        {**FULL, "video": "gone.mp4"},
        {**FULL, "chosen": ""},
        [1],
        {**FULL, "id": "b", "video": "broken.mp4"},
    ]
    code, made = convert(rows, "released")
    assert code == 1 and [row["id"] for row in made] == ["kitchen/1"]
    printed = capsys.readouterr().out
    for reason in ("missing-file", "missing-text", "bad-json", "unreadable-file"):
        assert f"left out: {reason} " in printed
    report = read(convert.folder / "rows.report.jsonl")
    assert {entry["where"].split()[0] for entry in report} == {f"rows.jsonl:{line}" for line in (2, 3, 4, 5)}
    assert not list((convert.folder / "clip" / "clip_w").glob("b*"))


def test_images_that_are_there_are_replaced_only_when_asked(
    convert: Callable[..., Any], media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "there" / "rows.jsonl"
    path = write_rows(media, [FULL])
    assert main([str(path), "--to", "released", "-o", str(out), "--fps", "10"]) == 0
    assert main([str(path), "--to", "released", "-o", str(out)]) == 2
    assert "is there already; give --overwrite" in capsys.readouterr().err
    out.unlink()
    assert main([str(path), "--to", "released", "-o", str(out)]) == 2
    assert "holds images already (3 such folders); give --overwrite" in capsys.readouterr().err
    (out.parent / "frame" / "kitchen" / "1" / "notes.txt").write_text("mine")
    assert main([str(path), "--to", "released", "-o", str(out), "--overwrite"]) == 0
    assert shown(out.parent / "clip" / "clip_w" / "kitchen" / "1") == [10, 20]  # 1.1 s at 2 a second
    assert (out.parent / "frame" / "kitchen" / "1" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "native", "-o", "media/rows.jsonl"], "--output is the input"),
        (["--to", "native", "-o", "out/rows.json"], "--output has to end in .jsonl"),
        (["--to", "native", "-o", "media/other.jsonl", "--name", "taken"], "another data set named 'taken'"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], sentence: str,
) -> None:  # fmt: skip
    write_rows(media, [FULL])
    write_dataset_info(media, taken="mine.jsonl", rows="rows.jsonl")
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in media.glob("*.json*")}
    assert main(["media/rows.jsonl", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vistadpo convert: ") and sentence in error
    assert before == {path: path.read_bytes() for path in media.glob("*.json*")}


def host_rows(folder: Path, name: str, formatting: str) -> list[dict[str, Any]]:
    """The data set as the host's own parser, Arrow reader and converter give it, for `stage: dpo`."""
    from datasets import load_dataset
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list

    (attributes,) = get_dataset_list([name], str(folder))
    assert attributes.formatting == formatting
    arguments = SimpleNamespace(media_dir=str(folder), use_vistadpo=False)
    convert = get_dataset_converter(attributes.formatting, attributes, arguments)
    if formatting == "vistadpo":
        from vistadpo_plugin.data.rows.reader import load_rows

        loaded = load_rows("json", [str(folder / attributes.dataset_name)])
    else:
        path = str(folder / attributes.dataset_name)
        loaded = load_dataset("json", data_files=[path], split="train", cache_dir=str(folder / "cache"))
    return [convert(row) for row in loaded]


def test_the_host_reads_plain_rows_as_it_reads_ours(
    convert: Callable[..., Any], media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prompt, answers and frames of the baseline are those of the rows, whichever converter they go through."""
    rows = [FULL, {**FULL, "id": 2, "prompt": "<video> Why?", "event": [[0, 1], [2, 3]]}, {**FULL, "video": "frames"}]
    code, made = convert(rows, "sharegpt")
    assert code == 0 and len(made) == 2
    printed = capsys.readouterr().out
    for name in ("event", "keyframe", "box", "rejected_irrelevant"):
        assert f"note: `{name}` has no place in the format" in printed
    assert "dataset: rows,rows_frames" in printed and "stage: dpo" in printed

    folder = convert.folder
    ours = host_rows(media, "rows", "vistadpo")
    plain = host_rows(folder, "rows", "sharegpt") + host_rows(folder, "rows_frames", "sharegpt")
    assert len(ours) == len(plain) == 3
    for one, other in zip(ours, plain, strict=True):
        assert one["_prompt"] == other["_prompt"] and one["_response"] == other["_response"]
        files = [video[0] if isinstance(video[0], list) else video for video in (one["_videos"], other["_videos"])]
        assert [Path(path).resolve() for path in files[0]] == [Path(path).resolve() for path in files[1]]
        assert isinstance(one["_videos"][0], list) == isinstance(other["_videos"][0], list)


def test_frames_alone_get_the_name(convert: Callable[..., Any]) -> None:
    code, made = convert([{**FULL, "video": "frames"}], "sharegpt")
    assert code == 0 and len(made[0]["videos"][0]) == 12
    assert set(json.loads((convert.folder / "dataset_info.json").read_text())) == {"rows"}


@needs_shared
def test_the_released_sample_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """635 rows, one with an empty answer. In native names and back through the field table, no value changes."""
    from vistadpo_plugin.layouts.fields import released_box

    sample = SHARED / "data" / "object_set.jsonl"
    out = tmp_path / "rows.jsonl"
    assert main([str(sample), "--to", "native", "-o", str(out), "--media-dir", str(tmp_path)]) == 1
    assert "left out: missing-text" in capsys.readouterr().out
    given = [row for row in map(json.loads, sample.read_text().splitlines()) if row["rejected"]]
    native = read(out)
    assert len(given) == len(native) == 634
    for before, row in zip(given, native, strict=True):
        released = {"rejected_irrelevant": "rejected_2", "keyframe": "frame"}
        back = {released.get(name, name): value for name, value in row.items()}
        back["bbox"] = released_box(back.pop("box"))
        assert back == before
