"""The views of a row, and that a frame's number is the one the frame itself shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from barcode_rows import FIRST_NUMBER, MATE, MATE_ROW, OWN, ROW, settings_for, write_media, write_rows
from data.barcode_video import hide_frame, read_code, write_video

from vistadpo_plugin.arguments import TERMS, VistaArguments
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    KEYFRAME,
    KEYFRAME_NEGATIVE,
    NO_MATE,
    VIDEO_NEGATIVE,
    row_terms,
    term_views,
)
from vistadpo_plugin.preview.candidates import read_candidates
from vistadpo_plugin.preview.shown import VIEWS, ShownRow, ShownView, show_row

Show = Callable[..., ShownRow]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def show(media: Path, tmp_path: Path) -> Show:
    """ROW with changes, its mate's video, and recipe keys; `mate=None` for a row without a mate."""

    def run(mate: str | None = MATE, keys: dict[str, Any] | None = None, **changes: Any) -> ShownRow:
        settings = settings_for(write_rows(tmp_path, {**ROW, **changes}, MATE_ROW), media, **(keys or {}))
        own, other = read_candidates(settings)
        partner = None if mate is None else dataclasses.replace(other.grounded, video=str(media / mate))
        return show_row(settings.builder(), own.row, own.grounded, partner)

    return run


def numbers(view: ShownView) -> list[int]:
    return [read_code(frame.image) for frame in view.frames]


def indices(view: ShownView) -> list[int | None]:
    return [frame.index for frame in view.frames]


def test_the_frames_are_what_training_takes(show: Show) -> None:
    """N frames out of n are number floor(i (n - 1) / (N - 1)), worked out by hand in tests/data/test_views.py."""
    shown = show()
    assert list(shown.views) == list(VIEWS) and shown.off == {}
    assert indices(shown.views[FULL]) == [0, 5, 11, 16, 22, 27, 33, 39]
    assert indices(shown.views[VIDEO_NEGATIVE]) == [0, 7, 14, 21, 28, 35, 42, 49]
    assert indices(shown.views[CLIP]) == [10, 11, 12, 14, 15, 17, 18, 20]
    assert indices(shown.views[CLIP_NEGATIVE]) == [21, 23, 26, 28, 31, 33, 36, 39]
    assert indices(shown.views[KEYFRAME]) == indices(shown.views[KEYFRAME_NEGATIVE]) == [14]
    assert [view.made for view in shown.views.values()] == [None] * 5 + ["mask"]
    assert [frame.seconds for frame in shown.views[FULL].frames] == pytest.approx(
        [0, 0.5, 1.1, 1.6, 2.2, 2.7, 3.3, 3.9]
    )


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"vista_video_negative": "reverse", "vista_clip_negative": "shuffle"},
        {"vista_video_negative": "shuffle", "vista_clip_negative": "reverse"},
        {"vista_clip_negative": "other", "vista_clip_frames": 3},
        {"template": "qwen2_vl", "video_fps": 3.0},
        {"video_maxlen": 64},
    ],
)
def test_a_frame_shows_the_number_it_is_said_to_have(show: Show, keys: dict[str, Any]) -> None:
    shown = show(keys=keys)
    for name in VIEWS[:5]:
        view = shown.views[name]
        first = FIRST_NUMBER[Path(view.origin.source.video).name]
        assert numbers(view) == [first + index for index in indices(view)], name
        assert [frame.seconds for frame in view.frames] == pytest.approx([index / 10 for index in indices(view)])


def test_backwards_frames_keep_their_numbers(show: Show) -> None:
    shown = show(keys={"vista_video_negative": "reverse"})
    assert indices(shown.views[VIDEO_NEGATIVE]) == [39, 33, 27, 22, 16, 11, 5, 0]
    assert shown.views[VIDEO_NEGATIVE].made == "reverse"


@pytest.mark.parametrize("kind", ["noise", "black"])
def test_what_is_no_frame_of_the_video_has_no_number(show: Show, kind: str) -> None:
    keys = {f"vista_{term}_negative": kind for term in ("video", "clip", "object")}
    shown = show(keys=keys)
    for name in (VIDEO_NEGATIVE, CLIP_NEGATIVE, KEYFRAME_NEGATIVE):
        view = shown.views[name]
        assert set(indices(view)) == {None} and view.made == kind
        spread = np.asarray(view.frames[0].image).std()
        assert spread == 0 if kind == "black" else spread > 60


def test_folders_of_clips_and_a_keyframe_of_its_own(show: Show, media: Path) -> None:
    shown = show(event=None, clip_w="clip_w", clip_l="clip_l", keyframe="clip_w/frame_2.png")
    assert numbers(shown.views[CLIP]) == [160 + index for index in indices(shown.views[CLIP])]
    assert numbers(shown.views[CLIP_NEGATIVE]) == [180 + index for index in indices(shown.views[CLIP_NEGATIVE])]
    assert numbers(shown.views[KEYFRAME]) == [161]


def test_a_packet_that_shows_nothing_is_not_counted(show: Show, media: Path) -> None:
    """Of ten frames the fifth (number 204) is hidden: there are nine, and eight of them, 200 to 203 and 205 to 209
    without the last but one, are floor(i 8 / 7) = 0, 1, 2, 3, 4, 5, 6, 8.
    """
    write_video(media / "plain.webm", range(200, 210), codec="libvpx", options={"lag-in-frames": "0", "g": "1"})
    hide_frame(media / "plain.webm", media / "hidden.webm", 4)
    view = show(video="hidden.webm", event=None, keyframe=None, box=None).views[FULL]
    assert indices(view) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert numbers(view) == [200, 201, 202, 203, 205, 206, 207, 209]
    assert [frame.seconds for frame in view.frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9], abs=0.002)


# --- what a row lacks


@pytest.mark.parametrize(
    ("changes", "keys", "mate", "off"),
    [
        ({}, {}, None, {"video": NO_MATE}),
        ({"event": None}, {}, MATE, {"clip": "no event"}),
        ({"event": [0.5, 3.5]}, {}, MATE, {"clip": "no stretch of 1 s and 4 frames without the event"}),
        ({"box": None}, {}, MATE, {"object": "no box"}),
        ({"keyframe": None}, {"vista_token_view": "keyframe"}, MATE, {"object": "no keyframe", "token": "no keyframe"}),
        ({}, {"vista_clip_weight": 0, "vista_clip_negative": "other"}, None, {
            "video": NO_MATE, "clip": "vista_clip_weight is 0"
        }),
        ({}, {"vista_response_weight": 0, "vista_video_weight": 0}, MATE, {
            "response": "vista_response_weight is 0", "video": "vista_video_weight is 0"
        }),
    ],
)  # fmt: skip
def test_terms_that_are_off_say_why(
    show: Show, changes: dict[str, Any], keys: dict[str, Any], mate: str | None, off: dict[str, str]
) -> None:
    shown = show(mate, keys, **changes)
    assert shown.off == off
    on = [term for term in TERMS if term not in off]
    view_keys = ViewKeys.of(VistaArguments(**keys))
    assert row_terms(shown.grounded, mate is not None, view_keys) == on
    assert shown.views.keys() == {view for term in on for view in term_views(shown.grounded, term, view_keys)}


def test_a_broken_mate_takes_the_terms_that_need_it(show: Show) -> None:
    shown = show("bad.mp4")
    assert shown.off.keys() == {"video"} and "bad.mp4" in shown.off["video"] and "mate" in shown.off["video"]
    assert VIDEO_NEGATIVE not in shown.views and numbers(shown.views[FULL])[0] == 0


def test_a_broken_file_of_the_row_is_an_error(show: Show, media: Path, tmp_path: Path) -> None:
    (media / "cut.mp4").write_bytes((media / OWN).read_bytes())
    shown = show(video="cut.mp4")
    (media / "cut.mp4").write_text("no video any more")
    settings = settings_for(tmp_path / "rows.jsonl", media)
    with pytest.raises(RowError, match="cut.mp4") as caught:
        show_row(settings.builder(), shown.row, shown.grounded, shown.mate)
    assert caught.value.where == "rows.jsonl:1 (id own)"
