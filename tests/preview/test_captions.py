"""The words under the pictures, and what a centre crop takes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from barcode_rows import MATE_ROW, ROW, settings_for, write_media, write_rows

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, FULL, KEYFRAME, KEYFRAME_NEGATIVE, VIDEO_NEGATIVE
from vistadpo_plugin.preview.candidates import read_candidates
from vistadpo_plugin.preview.captions import (
    describe_term,
    describe_unseen,
    describe_view,
    frame_caption,
    seen_square,
    unseen_share,
)
from vistadpo_plugin.preview.shown import ShownRow, show_row

Show = Callable[..., tuple[ShownRow, dict[str, str]]]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def show(media: Path, tmp_path: Path) -> Show:
    """ROW with changes under recipe keys: the row, and what is said of its views."""

    def run(keys: dict[str, Any] | None = None, **changes: Any) -> tuple[ShownRow, dict[str, str]]:
        settings = settings_for(write_rows(tmp_path, {**ROW, **changes}, MATE_ROW), media, **(keys or {}))
        own, mate = read_candidates(settings)
        shown = show_row(settings.builder(), own.row, own.grounded, mate.grounded)
        return shown, {name: describe_view(view, shown, settings.view_keys) for name, view in shown.views.items()}

    return run


def test_what_is_said_of_the_views(show: Show) -> None:
    """[1.0, 2.0] holds frames 10 to 20, 11 of them; behind it lie 21 to 39, 19 of them."""
    assert show()[1] == {
        FULL: "8 of 40 frames, 4.00 s, 64 × 48",
        VIDEO_NEGATIVE: "the video of the mate rows.jsonl:2 (id mate): 8 of 50 frames, 5.00 s",
        CLIP: "8 of the 11 frames inside the event, 1.00 to 2.00 s",
        CLIP_NEGATIVE: "8 of the 19 frames in the longest stretch without the event, 2.00 to 4.00 s",
        KEYFRAME: "the frame nearest to 1.44 s",
        KEYFRAME_NEGATIVE: "the box filled with the frame's mean colour",
    }


@pytest.mark.parametrize(
    ("keys", "changes", "view", "said"),
    [
        ({"video_max_pixels": 768}, {}, FULL, "8 of 40 frames, 4.00 s, 64 × 48 shrunk to 32 × 24"),
        ({}, {"event": [[0.1, 0.5], [2.0, 3]]}, CLIP,
         "8 of the 16 frames inside the 2 events, 0.10 to 0.50 s and 2.00 to 3.00 s"),
        ({"vista_clip_negative": "other"}, {}, CLIP_NEGATIVE,
         "the video of the mate rows.jsonl:2 (id mate): 8 of 50 frames, 5.00 s"),
        ({"vista_clip_negative": "reverse"}, {}, CLIP_NEGATIVE, "the same frames, backwards"),
        ({"vista_video_negative": "noise"}, {}, VIDEO_NEGATIVE, "noise in place of the frames"),
        ({"vista_object_negative": "black"}, {}, KEYFRAME_NEGATIVE, "black in place of the frame"),
        ({"vista_object_negative": "move", "vista_mask_fill": "blur"}, {}, KEYFRAME_NEGATIVE,
         "the object moved to the far corner, its place filled with a blur of the surroundings"),
        ({"vista_mask_fill": "white"}, {"box": [[1, 1, 9, 9], [20, 20, 9, 9]]}, KEYFRAME_NEGATIVE,
         "the boxes filled with white"),
        ({}, {"event": None, "clip_w": "clip_w", "clip_l": "clip_l"}, CLIP, "8 of 6 images of clip_w"),
        ({}, {"event": None, "clip_w": "clip_w", "clip_l": "clip_l"}, CLIP_NEGATIVE, "8 of 4 images of clip_l"),
        ({}, {"keyframe": "clip_w/frame_2.png"}, KEYFRAME, "the image frame_2.png"),
        ({"vista_clip_negative": "drop", "vista_temporal_magnitude": "curriculum"}, {}, CLIP_NEGATIVE,
         "1 of the same frames, each until the next one"),  # the first epoch: 8 // 16, at least 1
        ({"vista_video_negative": "shuffle", "vista_temporal_magnitude": "4"}, {}, VIDEO_NEGATIVE,
         "the same frames in groups of 2, shuffled"),
        ({}, {"rejected_video": "mate.mp4"}, VIDEO_NEGATIVE, "the row's own: mate.mp4, 8 of 50 frames, 5.00 s"),
        ({"vista_clip_negative": "black"}, {"rejected_clip": ["clip_l/frame_2.png"]}, CLIP_NEGATIVE,
         "the row's own: frame_2.png, 8 of 1 frame, 0.00 s"),
        ({}, {"rejected_keyframe": "clip_l/frame_3.png"}, KEYFRAME_NEGATIVE, "the row's own: frame_3.png"),
    ],
)  # fmt: skip
def test_what_is_said_of_other_choices(
    show: Show, keys: dict[str, Any], changes: dict[str, Any], view: str, said: str
) -> None:
    assert show(keys, **changes)[1][view] == said


def test_captions_of_frames(show: Show) -> None:
    shown, _ = show({"vista_video_negative": "black"}, event=None, clip_w="clip_w", clip_l="clip_l")
    captions = {name: [frame_caption(frame, view) for frame in view.frames][:2] for name, view in shown.views.items()}
    assert captions[FULL] == ["#0 · 0.00 s", "#5 · 0.50 s"]
    assert captions[VIDEO_NEGATIVE] == ["black", "black"]
    # six images, eight frames: floor(i 5 / 7) = 0, 0, ...
    assert captions[CLIP] == ["frame_1.png", "frame_1.png"]
    assert captions[KEYFRAME_NEGATIVE] == ["#14 · 1.40 s"]


def test_captions_of_the_rows_own_rejected_views(show: Show) -> None:
    own = {"rejected_video": "mate.mp4", "rejected_clip": "clip_l", "rejected_keyframe": "clip_l/frame_3.png"}
    shown, _ = show({}, **own)
    captions = {name: [frame_caption(frame, view) for frame in view.frames][:2] for name, view in shown.views.items()}
    assert captions[VIDEO_NEGATIVE] == ["#0 · 0.00 s", "#7 · 0.70 s"]  # floor(49 / 7)
    assert captions[CLIP_NEGATIVE] == ["frame_1.png", "frame_1.png"]
    assert captions[KEYFRAME_NEGATIVE] == ["frame_3.png"]


@pytest.mark.parametrize(
    ("changes", "keys", "said"),
    [
        ({}, {}, "on the keyframe"),
        ({"keyframe": None}, {}, "on the full video"),
        ({}, {"vista_token_view": "video"}, "on the full video"),
        ({}, {"vista_token_weight": 0}, None),
    ],
)
def test_where_the_token_term_looks(
    show: Show, changes: dict[str, Any], keys: dict[str, Any], said: str | None
) -> None:
    shown, _ = show(keys, **changes)
    view_keys = ViewKeys.of(VistaArguments(**keys))
    assert describe_term("token", shown, view_keys) == said
    assert describe_term("video", shown, view_keys) is None


def test_how_a_list_of_rejected_answers_is_weighed(show: Show) -> None:
    view_keys = ViewKeys.of(VistaArguments())
    assert describe_term("response", show()[0], view_keys) is None
    listed, _ = show(rejected=["No.", "Never.", "Not."])
    assert describe_term("response", listed, view_keys) == "rejected 0.33, 0.33, 0.33"


@pytest.mark.parametrize(
    ("size", "square"),
    [((640, 360), (140 / 640, 0, 360 / 640, 1)), ((48, 64), (0, 8 / 64, 1, 48 / 64)), ((9, 9), (0, 0, 1, 1))],
)
def test_the_centre_square(size: tuple[int, int], square: tuple[float, ...]) -> None:
    assert seen_square(size) == pytest.approx(square)


@pytest.mark.parametrize(
    ("boxes", "size", "share"),
    [
        ([(0, 150, 350, 180)], (640, 360), 140 / 350),  # the square begins at 140
        ([(140, 0, 360, 360)], (640, 360), 0),
        ([(0, 0, 140, 360)], (640, 360), 1),
        ([(0, 0, 16, 48), (24, 0, 16, 48)], (64, 48), 8 / 32),  # 8 of 64 columns are cut off on either side
        ([(0, 0, 10, 16)], (48, 64), 8 / 16),
    ],
)
def test_the_share_of_boxes_that_is_cut_off(
    boxes: list[tuple[float, ...]], size: tuple[int, int], share: float
) -> None:
    assert unseen_share(tuple(boxes), size) == pytest.approx(share)


def test_a_box_that_is_cut_off_is_said(show: Show) -> None:
    shown, _ = show(box=[0, 0, 16, 48])
    assert describe_unseen(shown, crop=True) == "50% of the box lies outside the square that the model sees"
    assert describe_unseen(shown, crop=False) is None
    assert describe_unseen(show()[0], crop=True) is None
    assert describe_unseen(show(box=None)[0], crop=True) is None
    assert describe_unseen(show(keyframe=None)[0], crop=True) is None
