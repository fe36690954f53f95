"""Which frames a view shows, read off the frames themselves.

own.mp4 shows 0 to 39 (10 frames a second, 4.0 s), mate.mp4 100 to 149, short.mp4 200 to 202. N frames out of a pool of
n are number floor(i (n - 1) / (N - 1)) of it, i = 0 .. N - 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.barcode_video import HEIGHT, WIDTH, codes, count_decodes, draw, write_images, write_video
from PIL import Image

from vistadpo_plugin.arguments import TERMS, VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import (
    CLIP,
    CLIP_NEGATIVE,
    FULL,
    HOLDS,
    KEYFRAME,
    KEYFRAME_NEGATIVE,
    VIDEO_NEGATIVE,
    SampledFrames,
    ViewBuilder,
    missing_grounding,
    row_terms,
    term_views,
    token_view,
)

ALL = {FULL, VIDEO_NEGATIVE, CLIP, CLIP_NEGATIVE, KEYFRAME, KEYFRAME_NEGATIVE}
IMAGES_FPS = 2.0

# i * 39 / 7 = 0, 5.57, 11.14, 16.71, 22.29, 27.86, 33.43, 39
OWN_8 = [0, 5, 11, 16, 22, 27, 33, 39]
# [1.0, 2.0] is frames 10 to 20; i * 10 / 7 = 0, 1.43, 2.86, 4.29, 5.71, 7.14, 8.57, 10
CLIP_8 = [10, 11, 12, 14, 15, 17, 18, 20]
# the rest of the video, 2.0 to 4.0 s without the end of the event: 21 to 39;
# i * 18 / 7 = 0, 2.57, 5.14, 7.71, 10.29, 12.86, 15.43, 18
OUTSIDE_8 = [21, 23, 26, 28, 31, 33, 36, 39]
MATE_8 = [100, 107, 114, 121, 128, 135, 142, 149]

Ground = Callable[..., GroundedRow]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("media")
    write_video(media / "own.mp4", range(40))
    write_video(media / "mate.mp4", range(100, 150))
    write_video(media / "short.mp4", range(200, 203))
    write_video(media / "twelve.mp4", range(51), fps=12)
    write_images(media / "frames", range(60, 72))
    write_images(media / "clip_w", range(160, 166))
    write_images(media / "clip_l", range(180, 184))
    draw(77).save(media / "key.png")
    (media / "cut.png").write_bytes((media / "key.png").read_bytes()[:60])
    (media / "bad.mp4").write_text("no video")
    return media


@pytest.fixture
def grounded(media: Path) -> Ground:
    """A row of own.mp4 with event, keyframe and box, and changes to it; None takes a field away."""

    def run(place: str = "rows.jsonl:3", **changes: Any) -> GroundedRow:
        row = {"video": "own.mp4", "prompt": "p", "chosen": "c", "rejected": "r"}
        row |= {"event": [1.0, 2.0], "keyframe": 1.44, "box": [16, 0, 16, HEIGHT], **changes}
        return ground(parse_row(row, place), str(media), IMAGES_FPS)

    return run


@pytest.fixture
def row(grounded: Ground) -> GroundedRow:
    return grounded()


@pytest.fixture
def mate(grounded: Ground) -> GroundedRow:
    return grounded("rows.jsonl:9", video="mate.mp4")


def builder(fixed_frames: int | None = 8, seed: int = 1, **changes: Any) -> ViewBuilder:
    """Takes frames as they are; `vista_*` changes go to the arguments, others to the builder."""
    vista = VistaArguments(**{key: value for key, value in changes.items() if key.startswith("vista_")})
    vista.check_vista_values()
    own = {key: value for key, value in changes.items() if not key.startswith("vista_")}
    options = {"video_fps": IMAGES_FPS, "video_maxlen": 8, "shrink": lambda image: image, **own}
    return ViewBuilder(ViewKeys.of(vista), fixed_frames=fixed_frames, seed=seed, **options)


# --- which frames


def test_the_six_views_of_a_row(row: GroundedRow, mate: GroundedRow) -> None:
    views = builder().build(row, mate, ALL)
    assert views.keys() == ALL and all(type(frames) is SampledFrames for frames in views.values())
    assert codes(views[FULL]) == OWN_8
    assert codes(views[VIDEO_NEGATIVE]) == MATE_8
    assert codes(views[CLIP]) == CLIP_8
    assert codes(views[CLIP_NEGATIVE]) == OUTSIDE_8
    assert codes(views[KEYFRAME]) == [14]  # 1.44 s lies between frame 14 and 15, nearer to 14
    assert len(views[KEYFRAME_NEGATIVE]) == 1


@pytest.mark.parametrize("seconds", [0, 0.04, 1.46, 3.9])
def test_the_keyframe_is_the_nearest_frame(grounded: Ground, seconds: float) -> None:
    views = builder().build(grounded(keyframe=seconds), None, {KEYFRAME})
    assert codes(views[KEYFRAME]) == [round(seconds * 10)]


def test_several_events_are_one_pool(grounded: Ground) -> None:
    """Frames 5-10 and 20-25, twelve: i * 11 / 7 = 0, 1.57, 3.14, 4.71, 6.29, 7.86, 9.43, 11. The longest stretch
    without them is behind the second, 26-39, fourteen: i * 13 / 7 = 0, 1.86, 3.71, 5.57, 7.43, 9.29, 11.14, 13.
    """
    views = builder().build(grounded(event=[[2.0, 2.5], [0.5, 1.0]]), None, {CLIP, CLIP_NEGATIVE})
    assert codes(views[CLIP]) == [5, 6, 8, 9, 20, 21, 23, 25]
    assert codes(views[CLIP_NEGATIVE]) == [26, 27, 29, 31, 33, 35, 37, 39]


def test_a_clip_holds_the_frame_its_event_ends_with(grounded: Ground) -> None:
    views = builder(vista_clip_frames=3).build(grounded(event=[0.1, 0.3]), None, {CLIP})
    assert codes(views[CLIP]) == [1, 2, 3]


def test_a_short_video_repeats_frames(grounded: Ground) -> None:
    """i * 2 / 7 = 0, 0.29, 0.57, 0.86, 1.14, 1.43, 1.71, 2."""
    views = builder().build(grounded(video="short.mp4", event=None, keyframe=None), None, {FULL})
    assert codes(views[FULL]) == [200, 200, 200, 200, 201, 201, 201, 202]


@pytest.mark.parametrize(
    ("video", "fps", "maxlen", "expected"),
    [
        ("own.mp4", 2.0, 64, OWN_8),  # 4 s x 2
        ("own.mp4", 2.0, 5, [0, 9, 19, 29, 39]),  # i * 39 / 4 = 0, 9.75, 19.5, 29.25, 39
        ("own.mp4", 0.8, 64, [0, 19, 39]),  # 3.2
        ("own.mp4", 100.0, 64, list(range(40))),  # there are 40
        ("short.mp4", 2.0, 64, [200]),  # 0.6 of a frame, but one at least
        pytest.param(
            *("twelve.mp4", 4.0, 64, [i * 50 // 16 for i in range(17)]),  # 51 / 12 = 4.25 s, x 4 = 17 exactly
        ),
    ],
)
def test_without_a_fixed_number_the_hosts_rule_counts(
    grounded: Ground, video: str, fps: float, maxlen: int, expected: list[int]
) -> None:
    """min(frames, video_maxlen, floor(duration x video_fps)), at least 1."""
    row = grounded(video=video, event=None, keyframe=None)
    views = builder(None, video_fps=fps, video_maxlen=maxlen).build(row, None, {FULL})
    assert codes(views[FULL]) == expected


@pytest.mark.parametrize("fixed", [8, None])
def test_clip_frames(row: GroundedRow, mate: GroundedRow, fixed: int | None) -> None:
    """Three of 10-20 and of 21-39; the full view keeps its own number."""
    views = builder(fixed, vista_clip_frames=3).build(row, mate, {FULL, CLIP, CLIP_NEGATIVE})
    assert codes(views[CLIP]) == [10, 15, 20]
    assert codes(views[CLIP_NEGATIVE]) == [21, 30, 39]
    assert codes(views[FULL]) == OWN_8


def test_clip_folders(grounded: Ground) -> None:
    """Six and four images: i * 5 / 7 = 0, 0.71, 1.43, 2.14, 2.86, 3.57, 4.29, 5;
    i * 3 / 7 = 0, 0.43, 0.86, 1.29, 1.71, 2.14, 2.57, 3.
    """
    row = grounded(event=None, clip_w="clip_w", clip_l="clip_l")
    views = builder().build(row, None, {CLIP, CLIP_NEGATIVE})
    assert codes(views[CLIP]) == [160, 160, 161, 162, 162, 163, 164, 165]
    assert codes(views[CLIP_NEGATIVE]) == [180, 180, 180, 181, 181, 182, 182, 183]


def test_a_folder_of_frames_is_a_video(grounded: Ground) -> None:
    """Twelve images at 2 a second; [1, 3] is number 2 to 6, all five wanted. Nearest to 1.44 s is number 3 (1.5 s)."""
    row = grounded(video="frames", event=[1.0, 3.0])
    views = builder(vista_clip_frames=5).build(row, None, {CLIP, KEYFRAME})
    assert codes(views[CLIP]) == [62, 63, 64, 65, 66]
    assert codes(views[KEYFRAME]) == [63]


def test_every_frame_is_shrunk_once(row: GroundedRow, mate: GroundedRow) -> None:
    """A frame that two views show (11 is in full and clip, 33 in full and outside) is decoded and shrunk for both."""
    shrunk: list[tuple[int, int]] = []

    def shrink(image: Image.Image) -> Image.Image:
        shrunk.append(image.size)
        return image.resize((32, 24))

    views = builder(shrink=shrink).build(row, mate, ALL)
    assert {frame.size for frames in views.values() for frame in frames} == {(32, 24)}
    assert set(shrunk) == {(WIDTH, HEIGHT)}
    assert len(shrunk) == len({*OWN_8, *CLIP_8, *OUTSIDE_8, 14}) + len(MATE_8)


# --- rejected views


@pytest.mark.parametrize(
    ("view", "key", "plain"),
    [(VIDEO_NEGATIVE, "vista_video_negative", OWN_8), (CLIP_NEGATIVE, "vista_clip_negative", CLIP_8)],
)
def test_rejected_views_made_from_the_preferred_one(row: GroundedRow, view: str, key: str, plain: list[int]) -> None:
    def build(kind: str, seed: int = 1, given: GroundedRow = row) -> SampledFrames:
        views = builder(seed=seed, **{key: kind}).build(given, None, {view})
        assert views.keys() == {view} and type(views[view]) is SampledFrames and len(views[view]) == 8
        return views[view]

    assert codes(build("reverse")) == plain[::-1]
    assert codes(build("black")) == [0] * 8
    shuffled = codes(build("shuffle"))
    assert sorted(shuffled) == plain and shuffled != plain
    assert codes(build("shuffle")) == shuffled

    noise = [frame.tobytes() for frame in build("noise")]
    assert len(set(noise)) == 8 and np.frombuffer(noise[0], np.uint8).std() > 60
    assert noise == [frame.tobytes() for frame in build("noise")]
    another_row = dataclasses.replace(row, where="rows.jsonl:4")
    for other in (build("noise", seed=2), build("noise", given=another_row)):
        assert noise != [frame.tobytes() for frame in other]


def test_the_mates_video_for_the_clip(row: GroundedRow, mate: GroundedRow) -> None:
    views = builder(vista_clip_negative="other").build(row, mate, {CLIP_NEGATIVE})
    assert codes(views[CLIP_NEGATIVE]) == MATE_8


@pytest.mark.parametrize(("fill", "code"), [("black", 0b0010), ("white", 0b1110)])
def test_a_masked_keyframe(row: GroundedRow, fill: str, code: int) -> None:
    """The keyframe reads 14, bars 1, 2 and 3; the box covers bars 2 and 3 from top to bottom."""
    view = builder(vista_mask_fill=fill).build(row, None, {KEYFRAME_NEGATIVE})
    assert codes(view[KEYFRAME_NEGATIVE]) == [code]


def test_the_box_shrinks_with_its_frame(row: GroundedRow) -> None:
    """Half the size: the box is columns 8 to 16 of 32. A black keyframe shows it in white."""
    keyframe = {"shrink": lambda image: Image.new("RGB", (32, 24)), "vista_mask_fill": "white"}
    frame = builder(**keyframe).build(row, None, {KEYFRAME_NEGATIVE})[KEYFRAME_NEGATIVE][0]
    expected = np.zeros((24, 32), np.uint8)
    expected[:, 8:16] = 255
    assert (np.asarray(frame.convert("L")) == expected).all()


def test_a_moved_object(grounded: Ground) -> None:
    """The upper half of bar 1, white, is cut out (black fills it) and set down at the bottom right: in bar 7."""
    row = grounded(keyframe=0.2, box=[8, 0, 8, HEIGHT // 2])  # frame 2: bar 1
    options = {"vista_object_negative": "move", "vista_mask_fill": "black"}
    frame = builder(**options).build(row, None, {KEYFRAME_NEGATIVE})[KEYFRAME_NEGATIVE][0]
    upper, lower = frame.crop((0, 0, WIDTH, HEIGHT // 2)), frame.crop((0, HEIGHT // 2, WIDTH, HEIGHT))
    assert codes([upper.resize((WIDTH, HEIGHT)), lower.resize((WIDTH, HEIGHT))]) == [0, 0b10000010]


def test_replaced_keyframes_need_no_box(grounded: Ground) -> None:
    row = grounded(keyframe="key.png", box=None)
    black = builder(vista_object_negative="black").build(row, None, {KEYFRAME, KEYFRAME_NEGATIVE})
    assert codes(black[KEYFRAME]) == [77] and codes(black[KEYFRAME_NEGATIVE]) == [0]
    noise = builder(vista_object_negative="noise").build(row, None, {KEYFRAME_NEGATIVE})
    assert np.asarray(noise[KEYFRAME_NEGATIVE][0]).std() > 60


# --- decoding


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        (ALL, ["mate.mp4", "own.mp4"]),
        ({FULL, CLIP, CLIP_NEGATIVE, KEYFRAME}, ["own.mp4"]),
        ({FULL}, ["own.mp4"]),
        ({VIDEO_NEGATIVE}, ["mate.mp4"]),
        (set(), []),
    ],
)
def test_each_file_is_decoded_once(
    row: GroundedRow, mate: GroundedRow, monkeypatch: pytest.MonkeyPatch, wanted: set[str], files: list[str]
) -> None:
    passes = count_decodes(monkeypatch)
    assert builder().build(row, mate, wanted).keys() == wanted
    assert sorted(passes) == files


@pytest.mark.parametrize("name", ["cut.png", "bad.mp4"])
def test_what_is_not_wanted_is_not_opened(media: Path, row: GroundedRow, mate: GroundedRow, name: str) -> None:
    """A broken keyframe stops the views of the keyframe, and no other."""
    row = dataclasses.replace(row, keyframe=str(media / name))
    assert codes(builder().build(row, mate, {FULL, VIDEO_NEGATIVE})[FULL]) == OWN_8
    for view in (KEYFRAME, KEYFRAME_NEGATIVE):
        with pytest.raises(RowError, match=name) as caught:
            builder().build(row, mate, {view})
        assert caught.value.where == "rows.jsonl:3"


def test_a_broken_video_is_named_with_its_row(media: Path, row: GroundedRow, mate: GroundedRow) -> None:
    bad = str(media / "bad.mp4")
    with pytest.raises(RowError) as caught:
        builder().build(dataclasses.replace(row, video=bad), mate, {FULL, VIDEO_NEGATIVE})
    assert caught.value.where == "rows.jsonl:3" and bad in str(caught.value)
    with pytest.raises(RowError) as caught:
        builder().build(row, dataclasses.replace(mate, video=bad), {FULL, VIDEO_NEGATIVE})
    assert caught.value.where == "rows.jsonl:9" and bad in str(caught.value)


# --- which terms


def test_the_views_of_the_terms(row: GroundedRow) -> None:
    view_keys = ViewKeys.of(VistaArguments())
    assert {term: term_views(row, term, view_keys) for term in TERMS} == {
        "response": (FULL,),
        "video": (FULL, VIDEO_NEGATIVE),
        "clip": (CLIP, CLIP_NEGATIVE),
        "object": (KEYFRAME, KEYFRAME_NEGATIVE),
        "token": (KEYFRAME,),
    }


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, set()),
        ({"event": None}, {"clip"}),
        ({"event": [0.31, 0.39]}, {"clip"}),  # between two frames
        ({"event": [0.5, 3.5]}, {"clip"}),  # no second without it
        ({"keyframe": None}, {"object"}),  # the token term looks at the video then
        ({"box": None}, {"object"}),
        ({"box": [1, 1, 0, 0]}, {"object"}),
        ({"box": [WIDTH, 0, 5, 5]}, {"object"}),
        ({"event": None, "keyframe": None, "box": None}, {"clip", "object"}),
        ({"event": None, "clip_w": "clip_w", "clip_l": "clip_l"}, set()),
    ],
)
def test_a_row_has_the_terms_it_is_grounded_for(grounded: Ground, changes: dict[str, Any], missing: set[str]) -> None:
    row = grounded(**changes)
    assert row_terms(row, True, ViewKeys.of(VistaArguments())) == [term for term in TERMS if term not in missing]
    alone = [term for term in TERMS if term not in missing | {"video"}]
    assert row_terms(row, False, ViewKeys.of(VistaArguments())) == alone


@pytest.mark.parametrize(
    ("changes", "vista", "has_mate", "terms"),
    [
        ({}, {"vista_clip_weight": 0, "vista_token_weight": 0}, True, ["response", "video", "object"]),
        ({}, {f"vista_{term}_weight": 0 for term in TERMS[1:]}, True, ["response"]),
        ({}, {"vista_video_negative": "noise"}, False, list(TERMS)),
        ({}, {"vista_clip_negative": "other"}, False, ["response", "object", "token"]),
        ({"event": [0.5, 3.5]}, {"vista_clip_negative": "other"}, True, list(TERMS)),
        ({"event": [0.5, 3.5]}, {"vista_clip_negative": "shuffle"}, True, list(TERMS)),
        ({"event": None}, {"vista_clip_negative": "shuffle"}, True, ["response", "video", "object", "token"]),
        ({"box": None}, {"vista_object_negative": "black"}, True, list(TERMS)),
        ({"box": None}, {"vista_object_negative": "noise"}, True, list(TERMS)),
        ({"box": None}, {"vista_object_negative": "move"}, True, ["response", "video", "clip", "token"]),
        ({"keyframe": None}, {"vista_object_negative": "black"}, True, ["response", "video", "clip", "token"]),
        ({"keyframe": None}, {"vista_token_view": "keyframe"}, True, ["response", "video", "clip"]),
    ],
)
def test_the_recipe_decides_too(
    grounded: Ground, changes: dict[str, Any], vista: dict[str, Any], has_mate: bool, terms: list[str]
) -> None:
    assert row_terms(grounded(**changes), has_mate, ViewKeys.of(VistaArguments(**vista))) == terms


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        (True, {"video", "clip", "object"}),
        (["clip"], {"clip"}),
        (["video", "object"], {"video", "object"}),
        ([], set()),
    ],
)
@pytest.mark.parametrize("has_mate", [True, False])
def test_a_term_is_off_where_the_chosen_answer_stays_true(
    grounded: Ground, given: Any, gone: set[str], has_mate: bool
) -> None:
    """Unless the recipe does not heed it, and for another reason where there is one."""
    row = grounded(holds_in_rejected_view=given)
    lacking = gone if has_mate else gone | {"video"}
    view_keys = ViewKeys.of(VistaArguments())
    assert row_terms(row, has_mate, view_keys) == [term for term in TERMS if term not in lacking]
    assert {term for term in TERMS if missing_grounding(row, term, view_keys) == HOLDS} == gone
    ignored = ViewKeys.of(VistaArguments(vista_heed_holds=False))
    assert row_terms(row, has_mate, ignored) == row_terms(grounded(), has_mate, ignored)
    bare = grounded(holds_in_rejected_view=True, event=None)
    assert missing_grounding(bare, "clip", view_keys) == "no event"


@pytest.mark.parametrize(
    ("changes", "setting", "view"),
    [
        ({}, "auto", KEYFRAME),
        ({}, "keyframe", KEYFRAME),
        ({}, "video", FULL),
        ({"keyframe": None}, "auto", FULL),
        ({"keyframe": None}, "video", FULL),
        ({"box": None}, "auto", KEYFRAME),
    ],
)
def test_what_the_token_term_looks_at(grounded: Ground, changes: dict[str, Any], setting: Any, view: str) -> None:
    assert token_view(grounded(**changes), ViewKeys.of(VistaArguments(vista_token_view=setting))) == view
