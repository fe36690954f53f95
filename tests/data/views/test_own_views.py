"""A rejected view that the row brings itself shows exactly the frames of that file, read off the frames.

own.mp4 shows 0 to 39 (10 frames a second), own_rejected.mp4 100 to 149, the folder `frames` 60 to 71. Eight frames of
n are number floor(i (n - 1) / 7), i = 0 .. 7.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data.barcode_video import HEIGHT, codes, count_decodes, draw, write_images, write_video

from vistadpo_plugin.arguments import TERMS, VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME_NEGATIVE,
    OWN,
    VIDEO_NEGATIVE,
    ViewBuilder,
    needs_mate,
    negative_kind,
    row_terms,
)

REJECTED_8 = [100, 107, 114, 121, 128, 135, 142, 149]
FRAMES_8 = [60, 61, 63, 64, 66, 67, 69, 71]
ROW = {"video": "own.mp4", "prompt": "p", "chosen": "c", "rejected": "r", "event": [1.0, 2.0], "keyframe": 1.44,
       "box": [16, 0, 16, HEIGHT]}  # fmt: skip
KINDS = {
    "vista_video_negative": ["other", "noise", "black", "reverse", "shuffle"],
    "vista_clip_negative": ["non_event", "other", "black", "reverse"],
    "vista_object_negative": ["mask", "move", "black", "noise"],
}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("media")
    write_video(media / "own.mp4", range(40))
    write_video(media / "own_rejected.mp4", range(100, 150))
    write_video(media / "mate.mp4", range(200, 240))
    write_images(media / "frames", range(60, 72))
    draw(77).save(media / "key.png")
    return media


def grounded(media: Path, place: str = "rows.jsonl:3", **changes: Any) -> GroundedRow:
    return ground(parse_row({**ROW, **changes}, place), str(media), 2.0)


def builder(**keys: Any) -> ViewBuilder:
    return ViewBuilder(ViewKeys.of(VistaArguments(**keys)), 2.0, 8, 8, lambda image: image, seed=1)


OWN_VIEWS = [
    ("rejected_video", "own_rejected.mp4", VIDEO_NEGATIVE, "vista_video_negative", REJECTED_8),
    ("rejected_video", "frames", VIDEO_NEGATIVE, "vista_video_negative", FRAMES_8),
    ("rejected_clip", "own_rejected.mp4", CLIP_NEGATIVE, "vista_clip_negative", REJECTED_8),
    ("rejected_keyframe", "key.png", KEYFRAME_NEGATIVE, "vista_object_negative", [77]),
]


@pytest.mark.parametrize(("field", "given", "view", "key", "expected"), OWN_VIEWS)
def test_it_shows_what_the_row_names_whatever_the_recipe_draws(
    media: Path, field: str, given: str, view: str, key: str, expected: list[int]
) -> None:
    row, mate = grounded(media, **{field: given}), grounded(media, "rows.jsonl:9", video="mate.mp4")
    for kind in KINDS[key]:
        assert codes(builder(**{key: kind}).build(row, mate, {view})[view]) == expected
        assert codes(builder(**{key: kind}).build(grounded(media), mate, {view})[view]) != expected


def test_a_rejected_clip_has_as_many_frames_as_the_clip(media: Path) -> None:
    """Three of 10 to 20, and three of fifty: i * 49 / 2 = 0, 24.5, 49."""
    row = grounded(media, rejected_clip="own_rejected.mp4")
    views = builder(vista_clip_frames=3).build(row, None, {CLIP, CLIP_NEGATIVE})
    assert codes(views[CLIP]) == [10, 15, 20] and codes(views[CLIP_NEGATIVE]) == [100, 124, 149]


def test_no_mate_no_box_and_no_rest_are_needed(media: Path) -> None:
    """A row on its own, with an event that fills its video, and a keyframe without a box."""
    bare = {"event": [0, 4.0], "box": None}
    own = {"rejected_video": "own_rejected.mp4", "rejected_clip": "frames", "rejected_keyframe": "key.png"}
    for keys in ({}, {"vista_clip_negative": "other", "vista_object_negative": "move"}):
        view_keys = ViewKeys.of(VistaArguments(**keys))
        assert row_terms(grounded(media, **bare), False, view_keys) == ["response", "token"]
        row = grounded(media, **bare, **own)
        assert row_terms(row, False, view_keys) == list(TERMS)
        assert [negative_kind(row, term, view_keys) for term in ("video", "clip", "object")] == [OWN] * 3
        assert not any(needs_mate(row, term, view_keys) for term in TERMS)


@pytest.mark.parametrize(("changes", "gone"), [({"event": None}, "clip"), ({"keyframe": None}, "object")])
def test_what_it_is_held_against_is_needed(media: Path, changes: dict[str, Any], gone: str) -> None:
    row = grounded(media, rejected_clip="frames", rejected_keyframe="key.png", **changes)
    assert gone not in row_terms(row, True, ViewKeys.of(VistaArguments()))


def test_two_rows_with_one_rejected_video_decode_it_once(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vistadpo_plugin.data.views.views import ViewRequest

    passes = count_decodes(monkeypatch)
    rows = [grounded(media, place, rejected_video="own_rejected.mp4") for place in ("w:1", "w:2")]
    built = builder().build_all([ViewRequest(row, None, {VIDEO_NEGATIVE}) for row in rows])
    assert passes == ["own_rejected.mp4"]
    assert built[0].views[VIDEO_NEGATIVE] is built[1].views[VIDEO_NEGATIVE]


def test_a_broken_one_is_named_with_its_own_row(media: Path, tmp_path: Path) -> None:
    path = tmp_path / "soon_broken.mp4"
    path.write_bytes((media / "own_rejected.mp4").read_bytes())
    row = grounded(media, rejected_video=str(path))
    path.write_text("no video any more")
    with pytest.raises(RowError) as caught:
        builder().build(row, None, {FULL, VIDEO_NEGATIVE})
    assert caught.value.where == "rows.jsonl:3" and "soon_broken.mp4" in caught.value.message
