"""Rejected views that a row brings itself: found, opened, and refused by name where that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data.barcode_video import draw, write_images, write_video

from vistadpo_plugin.data.rows.grounding import GroundedRow, assume_files, ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row

ROW = {"video": "a.mp4", "prompt": "p", "chosen": "c", "rejected": "r", "keyframe": "key.png", "event": [1, 2]}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("media")
    for name in ("a", "b"):
        write_video(media / f"{name}.mp4", range(40))
    write_images(media / "frames", range(3))
    (media / "nothing").mkdir()
    for name in ("key", "other"):
        draw(7).save(media / f"{name}.png")
    (media / "broken.mp4").write_text("no video")
    (media / "broken.png").write_text("no image")
    return media


def grounded(media: Path, **changes: Any) -> GroundedRow:
    return ground(parse_row({**ROW, **changes}, "rows.jsonl:3"), str(media), 2.0)


def test_all_are_found(media: Path) -> None:
    """Endings may be left out, a folder is a video of its images, and a folder of keyframes is as many keyframes."""
    frames = tuple(str(media / "frames" / f"frame_{number}.png") for number in (1, 2, 3))
    row = grounded(
        media,
        rejected_video=["b", "frames", ["frames/frame_3.png", "frames/frame_1.png"]],
        rejected_clip="frames",
        rejected_keyframe=["other.png", "frames"],
    )
    assert row.rejected_videos == (str(media / "b.mp4"), frames, (frames[2], frames[0]))
    assert row.rejected_clips == (frames,)
    assert row.rejected_keyframes == (str(media / "other.png"), *frames)
    assert GroundedRow.from_json(row.to_json()) == row
    assert [len(row.own_negatives(term)) for term in ("video", "clip", "object", "response", "token")] == [
        3,
        1,
        4,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"rejected_video": "gone"}, "missing-file", "rejected video not found: tried"),
        ({"rejected_video": ["b.mp4", "gone.mp4"]}, "missing-file", "rejected video not found: tried"),
        ({"rejected_clip": ["gone.png"]}, "missing-file", "rejected clip frame not found: tried"),
        ({"rejected_keyframe": "gone.png"}, "missing-file", "rejected keyframe not found: tried"),
        ({"rejected_clip": "nothing"}, "empty-folder", "nothing holds no images"),
        ({"rejected_keyframe": "nothing"}, "empty-folder", "nothing holds no images"),
        ({"rejected_video": "broken.mp4"}, "unreadable-file", "broken.mp4"),
        ({"rejected_clip": ["broken.png"]}, "unreadable-file", "broken.png"),
        ({"rejected_keyframe": ["other.png", "broken.png"]}, "unreadable-file", "broken.png"),
        ({"rejected_video": ["b.mp4", "a.mp4"]}, "rejected-is-preferred", "`rejected_video` names the row's own video"),
        ({"rejected_video": "a"}, "rejected-is-preferred", "`rejected_video` names the row's own video"),
        (
            {"rejected_keyframe": "key.png"},
            "rejected-is-preferred",
            "`rejected_keyframe` names the row's own keyframe",
        ),
        (
            {"event": None, "clip_w": "frames", "rejected_clip": "frames"},
            "rejected-is-preferred",
            "`rejected_clip` names the row's own clip",
        ),
    ],
)
def test_what_cannot_be_used_is_named(media: Path, changes: dict[str, Any], kind: str, said: str) -> None:
    with pytest.raises(RowError) as caught:
        grounded(media, **changes)
    assert caught.value.kind == kind and said in caught.value.message and caught.value.where == "rows.jsonl:3"


def test_without_files_they_are_as_written() -> None:
    row = assume_files(parse_row({**ROW, "rejected_video": ["b.mp4", "c"], "rejected_keyframe": "k"}, "w"))
    assert row.rejected_videos == ("b.mp4", "c") and row.rejected_keyframes == ("k",) and row.rejected_clips == ()
