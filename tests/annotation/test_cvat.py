"""CVAT's XML of a video: tracks become keyframe and box at the middle of a row's event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data.barcode_video import write_video
from data.filmed import MATRICES, set_matrix, write_film

from vistadpo_plugin.commands.annotate.import_rows import main as import_rows

BOX = '<box frame="{}" outside="{}" occluded="0" keyframe="1" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"/>'

# The mug moves 2 px to the right a frame from frame 10 to 20, and is gone from frame 30 on.
MUG = [(10, 0, 4, 8, 20, 24), (20, 0, 24, 8, 40, 24), (30, 1, 24, 8, 40, 24)]
DOG = [(0, 0, 1, 2, 3.5, 5), (5, 1, 1, 2, 3.5, 5)]


def xml(tracks: dict[str, list[tuple]], source: str = "a.mp4", size: Any = (64, 48), inside: str = "") -> str:
    """An export as the documentation of CVAT's format 1.1 has it."""
    made = "".join(
        f'<track id="{number}" label="{label}" source="manual">'
        + "".join(BOX.format(*box) for box in boxes)
        + inside
        + "</track>"
        for number, (label, boxes) in enumerate(tracks.items())
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><id>1</id><name>x</name>'
        "<size>40</size><mode>interpolation</mode><flipped>False</flipped>"
        f"<original_size><width>{size[0]}</width><height>{size[1]}</height></original_size></task>"
        f"<dumped>2026-01-01</dumped><source>{source}</source></meta>{made}</annotations>"
    )


ROW = {"video": "a.mp4", "prompt": "What is it?", "chosen": "The mug.", "rejected": "Nothing.", "event": [1.0, 2.0]}


def give(folder: Path, rows: list[dict[str, Any]], content: str, status: int = 0) -> list[dict[str, Any]]:
    """The rows after an import."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "boxes.xml").write_text(content)
    words = ["--rows", str(folder / "rows.jsonl"), "-o", str(folder / "back.jsonl"), "--overwrite"]
    assert import_rows([str(folder / "boxes.xml"), *words]) == status
    return [json.loads(line) for line in (folder / "back.jsonl").read_text().splitlines()]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    write_video(tmp_path / "a.mp4", range(40))
    write_video(tmp_path / "b.mp4", range(40))
    return tmp_path


@pytest.mark.parametrize(
    ("event", "keyframe", "box"),
    [
        ([1.0, 2.0], 1.5, [14, 8, 16, 16]),  # frame 15, half of the way from x = 4 to x = 24
        ([1.0, 1.0 + 1e-3], 1.0, [4, 8, 16, 16]),
        ([2.1, 2.9], 2.5, [24, 8, 16, 16]),  # it stands still until it is gone
        ([[0.0, 0.2], [1.0, 2.0]], 1.5, [14, 8, 16, 16]),  # the longest event
    ],
)
def test_the_box_at_the_middle(media: Path, event: list, keyframe: float, box: list, capsys: Any) -> None:
    (back,) = give(media, [{**ROW, "event": event, "own": 1}], xml({"mug": MUG}))
    assert back == {**ROW, "event": event, "own": 1, "keyframe": keyframe, "box": box}
    assert "note: keyframe and box given" in capsys.readouterr().out


def test_which_track(media: Path) -> None:
    """The one that the right answer names, else the question, else the only one there; never a guess."""
    there = {"mug": MUG, "Dog": [(0, 0, 1, 2, 3, 4)]}
    dog, mug = [1, 2, 2, 2], [14, 8, 16, 16]
    rows = {
        "The mug.": mug,
        "A dog sits.": dog,
        "Hotdogs.": None,  # names neither, and there are two
        "The dog and the mug.": None,
    }
    found = give(media, [{**ROW, "chosen": chosen} for chosen in rows], xml(there), status=1)
    assert [row.get("box") for row in found] == list(rows.values())
    (asked,) = give(media, [{**ROW, "chosen": "It sits.", "prompt": "What does the dog do?"}], xml(there))
    assert asked["box"] == dog
    (only,) = give(media, [{**ROW, "chosen": "It sits."}], xml({"mug": MUG, "dog": DOG}))
    assert only["box"] == mug


def test_rows_that_stay_as_they_were(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without = {key: value for key, value in ROW.items() if key != "event"}
    rows = [
        {**ROW, "video": "b.mp4"},
        {**ROW, "box": [1, 1, 2, 2], "keyframe": 0.1},
        without,
        {**ROW, "event": [3.2, 3.6]},
    ]
    assert give(media, rows, xml({"mug": MUG}), status=1) == rows
    told = capsys.readouterr().out
    for words in ("about another video", "has a box already", "the row has no event", "no track is there"):
        assert words in told


def test_a_video_named_without_its_ending(media: Path) -> None:
    (back,) = give(media, [{**ROW, "video": "a"}], xml({"mug": MUG}))
    assert back["box"] == [14, 8, 16, 16]


def test_boxes_that_were_drawn_on_another_picture(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CVAT showed the stored 64 x 48; players show it turned, 48 x 64."""
    set_matrix(write_film(media / "t.mp4", 40), MATRICES["a quarter to the right"])
    row = {**ROW, "video": "t.mp4"}
    assert give(media, [row], xml({"mug": MUG}, "t.mp4"), status=1) == [row]
    assert "drawn on frames of another size" in capsys.readouterr().out
    (back,) = give(media, [row], xml({"mug": MUG}, "t.mp4", (48, 64)))
    assert back["box"] == [14, 8, 16, 16]


def test_a_late_picture(media: Path) -> None:
    """Frames count from the first picture, which is at 0.5 s of a player: frame 15 is at 2.0 s."""
    write_film(media / "l.mp4", 40, late=0.5, sound=True)
    (back,) = give(media, [{**ROW, "video": "l.mp4", "event": [1.5, 2.5]}], xml({"mug": MUG}, "l.mp4"))
    assert (back["keyframe"], back["box"]) == (2.0, [14, 8, 16, 16])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<annotations>", "not valid XML"),
        ("<annotations><image/></annotations>", "CVAT for video 1.1"),
        (xml({"mug": MUG}).replace("meta><task>", "meta><project></project><task>"), "whole project"),
        (xml({"mug": MUG}).replace("<source>a.mp4</source>", ""), "of which video"),
        (xml({"mug": MUG}).replace("False", "True"), "flipped"),
        (xml({"mug": MUG}).replace('z_order="0"', 'z_order="0" rotation="30"'), "turned"),
        (xml({"mug": []}, inside="<polygon/>"), "polygon"),
        (xml({"mug": MUG}).replace('xtl="4"', 'xtl="x"'), "could not convert"),
    ],
)
def test_files_that_cannot_be_read(content: str, words: str, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (media / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    (media / "boxes.xml").write_text(content)
    argv = [str(media / "boxes.xml"), "--rows", str(media / "rows.jsonl"), "-o", str(media / "back.jsonl")]
    assert import_rows(argv) == 2
    assert words in capsys.readouterr().err and not (media / "back.jsonl").exists()
