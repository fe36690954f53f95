"""Rows held against their files: 40 frames at 10 a second, 64 x 48 pixels, so 0.0 to 3.9 s and 4.0 s long."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.barcode_video import HEIGHT, WIDTH, count_decodes, write_images, write_video
from PIL import Image

from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.data.video.intervals import inside_events, longest_outside

IMAGES_FPS = 2.0
KEY_SIZE = (200, 100)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("media")
    write_video(media / "a.mp4", range(40))
    for suffix in ("mp4", "mkv"):
        # No frame between 0.75 and 1.5 s; without reordered frames, so that the mp4 gives its length as 3.04 s.
        irregular = [0, 40, 100, 700, 750, 1500, 1540, 3000]
        write_video(media / f"irregular.{suffix}", range(8), stamps_ms=irregular, options={"bf": "0"})
    # In fragments: the header counts the 8 frames of the first, not all 60.
    fragments = {"movflags": "frag_keyframe"}
    write_video(media / "fragments.mp4", range(60), options={"g": "12"}, container_options=fragments)
    write_images(media / "frames", range(8))
    write_images(media / "clip_w", range(2))
    write_images(media / "clip_l", range(3))
    Image.new("RGB", KEY_SIZE).save(media / "key.png")
    (media / "keys").mkdir()
    for number in (10, 9):
        Image.new("RGB", (number, number)).save(media / "keys" / f"{number}.png")
    (media / "one_key").mkdir()
    Image.new("RGB", KEY_SIZE).save(media / "one_key" / "only.jpg")
    (media / "nothing").mkdir()
    (media / "broken.mp4").write_text("no video")
    return media


@pytest.fixture
def grounded(media: Path) -> Any:
    """Ground a row of a.mp4 with changes."""

    def run(images_fps: float = IMAGES_FPS, **changes: Any) -> GroundedRow:
        row = {"video": "a.mp4", "prompt": "p", "chosen": "c", "rejected": "r", **changes}
        return ground(parse_row(row, "rows.jsonl:3"), str(media), images_fps)

    return run


@pytest.fixture
def refusal(grounded: Any) -> Any:
    """The message of the RowError, which names the row."""

    def run(**changes: Any) -> str:
        with pytest.raises(RowError) as caught:
            grounded(**changes)
        assert str(caught.value).startswith("rows.jsonl:3: ")
        return str(caught.value)

    return run


def test_a_plain_row_has_every_grounding_off(grounded: Any, media: Path) -> None:
    row = grounded()
    assert row.video == row.video_key == str(media / "a.mp4")
    assert set(row.off) == {"event", "keyframe", "box"}
    assert (row.events, row.outside, row.keyframe, row.boxes, row.notes) == ((), None, None, (), ())


def test_a_full_row_has_nothing_off(grounded: Any) -> None:
    row = grounded(event=[1, 2], keyframe=1.5, box=[1, 2, 3, 4])
    assert row.off == {} and row.notes == ()
    assert (row.events, row.keyframe, row.frame_size) == (((1.0, 2.0),), 1.5, (WIDTH, HEIGHT))
    assert row.boxes == ((1.0, 2.0, 3.0, 4.0),)


def test_nothing_is_decoded_but_one_picture_where_there_is_a_box(
    grounded: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture tells how the frame that the box is drawn on is turned."""
    passes = count_decodes(monkeypatch)
    for video in ("a.mp4", "irregular.mkv"):
        os.link(media / video, media / f"fresh_{video}")  # a name that no cache knows
        grounded(video=f"fresh_{video}", event=[0.5, 0.72], keyframe=1.5)
        grounded(video=f"fresh_{video}", event=[0.5, 0.72], keyframe="key.png", box=[1, 2, 3, 4])
    assert passes == []
    for _ in range(2):
        grounded(video="fresh_a.mp4", keyframe=1.5, box=[1, 2, 3, 4])
    assert passes == ["fresh_a.mp4"]


# --- events


@pytest.mark.parametrize("event", [[4.5, 4.8], [0, 5.2], [[0, 1], [3, 5.2]], [1000, 2000]])
def test_an_event_outside_the_video_is_refused(refusal: Any, event: list[Any]) -> None:
    message = refusal(event=event)
    start, end = event[-1] if isinstance(event[0], list) else event
    assert f"`event` [{start}, {end}]" in message and "4.00 s" in message


def test_an_event_that_ends_a_little_late_is_cut(grounded: Any) -> None:
    row = grounded(event=[3, 4.8])
    assert row.events == (pytest.approx((3.0, 4.0)),)
    assert len(row.notes) == 1 and "event" in row.notes[0]
    assert row.off.keys() == {"keyframe", "box"}


def test_an_event_between_two_frames_covers_none(grounded: Any) -> None:
    row = grounded(event=[0.31, 0.39])
    assert row.events == () and "no frame" in row.off["event"]


@pytest.mark.parametrize(
    "frame",
    [
        5,
        # 3 x 0.1 is 0.30000000000000004
        pytest.param(3),
    ],
)
def test_an_event_covers_the_frame_it_ends_with(grounded: Any, frame: int) -> None:
    """The frame at 0.3 (0.5) s is the only one in [0.25, 0.3] ([0.45, 0.5]); the ends belong to the event."""
    row = grounded(event=[frame / 10 - 0.05, frame / 10])
    assert "event" not in row.off


def test_inside_events_takes_both_ends() -> None:
    """Quarters of a second are exact numbers."""
    times = np.arange(9) / 4
    inside = inside_events(times, ((0.25, 0.75), (1.5, 1.6)))
    assert np.flatnonzero(inside).tolist() == [1, 2, 3, 6]


@pytest.mark.parametrize("event", [[0.8, 1.4], [1.6, 2.8]])
@pytest.mark.parametrize(
    "name",
    [
        "irregular.mkv",
        pytest.param("irregular.mp4"),
    ],
)
def test_an_event_in_a_gap_between_irregular_frames_covers_none(grounded: Any, name: str, event: list[float]) -> None:
    """Frames at 0, 0.04, 0.1, 0.7, 0.75, 1.5, 1.54, 3.0 s. Evenly spread, eight frames in 3.04 s would lie at 0, 0.38,
    ..., 2.66 s, and the row's clip is found to be empty in the middle of training.
    """
    assert "event" in grounded(video=name, event=event).off


def test_a_file_in_fragments_has_all_its_frames(grounded: Any) -> None:
    """60 frames, 6 s: frames 16 to 22 lie in the event, and there is a frame at 5.8 s."""
    row = grounded(video="fragments.mp4", event=[1.6, 2.2], keyframe=5.8)
    assert "event" not in row.off
    assert row.keyframe == pytest.approx(5.8)


@pytest.mark.parametrize(
    ("event", "outside"),
    [
        ([1.0, 1.5], (1.5, 4.0)),  # 0-1.0 and 1.5-4.0
        ([2.0, 3.9], (0.0, 2.0)),
        ([[0.5, 1.0], [2.6, 3.0]], (1.0, 2.6)),  # 0.5, 1.6 and 1.0 s
        ([[0.5, 1.0], [1.8, 2.0]], (2.0, 4.0)),
        ([[1.0, 2.0], [2.0, 3.5]], (0.0, 1.0)),  # touching events leave nothing between; exactly a second will do
        ([[0.9, 1.5], [2.45, 3.5]], None),  # 0.9, 0.95 and 0.5 s
        ([0, 4], None),
    ],
)
def test_outside_is_the_longest_stretch_without_the_event(grounded: Any, event: Any, outside: Any) -> None:
    row = grounded(event=event)
    assert row.outside == (None if outside is None else pytest.approx(outside))
    assert ("outside" in row.off) == (outside is None)
    assert "event" not in row.off


@pytest.mark.parametrize(("end", "enough"), [(1.9, True), (2.4, False)])
def test_outside_needs_four_frames(grounded: Any, end: float, enough: bool) -> None:
    """Eight images at 2 a second, the last at 3.5 s. Behind 1.9 s: 2.0, 2.5, 3.0, 3.5. Behind 2.4 s: only three."""
    row = grounded(video="frames", event=[0, end])
    assert row.outside == ((end, 4.0) if enough else None)


def test_longest_outside_of_bare_times() -> None:
    """Sixteen frames, four a second, 4.0 s: 0-0.5, 1-1.5 and 3-4 s are free; the frame at 3.0 belongs to the event."""
    assert longest_outside(np.arange(16) / 4, ((0.5, 1.0), (1.5, 3.0))) is None
    assert longest_outside(np.arange(16) / 4, ((0.5, 1.0), (1.5, 2.9))) == (2.9, 4.0)


# --- keyframes


@pytest.mark.parametrize(
    ("given", "kept", "noted"), [(2, 2.0, False), (3.9, 3.9, False), (3.95, 3.9, False), (4.5, 3.9, True)]
)
def test_a_keyframe_a_little_late_is_moved_to_the_last_frame(
    grounded: Any, given: float, kept: float, noted: bool
) -> None:
    row = grounded(keyframe=given)
    assert row.keyframe == pytest.approx(kept)
    assert len(row.notes) == noted and "keyframe" not in row.off


def test_a_keyframe_outside_the_video_is_refused(refusal: Any) -> None:
    message = refusal(keyframe=5)
    assert "`keyframe` 5" in message and "3.90 s" in message


def test_a_keyframe_image(grounded: Any, media: Path) -> None:
    row = grounded(keyframe="key.png", box=[150, 60, 20, 20])
    assert (row.keyframe, row.frame_size) == (str(media / "key.png"), KEY_SIZE)
    assert row.boxes == ((150.0, 60.0, 20.0, 20.0),)  # outside a frame of the video, inside the image


def test_a_keyframe_folder(grounded: Any, media: Path) -> None:
    """9.png comes before 10.png; each is as large as its name says."""
    row = grounded(keyframe="keys")
    assert (row.keyframe, row.frame_size) == (str(media / "keys" / "9.png"), (9, 9))
    assert len(row.notes) == 1 and "keyframe" in row.notes[0]
    row = grounded(frame="one_key")
    assert (row.keyframe, row.notes) == (str(media / "one_key" / "only.jpg"), ())


# --- boxes


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([190, 90, 20, 20], (190.0, 90.0, 10.0, 10.0)),
        ([-5, -6, 10, 10], (0.0, 0.0, 5.0, 4.0)),
        ([-5, -5, 300, 300], (0.0, 0.0, 200.0, 100.0)),
    ],
)
def test_a_box_over_the_edge_is_clipped(grounded: Any, box: list[float], kept: tuple[float, ...]) -> None:
    row = grounded(keyframe="key.png", box=box)
    assert row.boxes == (kept,)
    assert len(row.notes) == 1 and "clipped" in row.notes[0] and "box" not in row.off


@pytest.mark.parametrize("box", [[200, 0, 10, 10], [0, 101, 10, 10], [-10, 0, 10, 10], [199.5, 10, 10, 10]])
def test_a_box_without_a_pixel_of_the_frame_is_left_out(grounded: Any, box: list[float]) -> None:
    """The last one shares half a pixel's width with the image."""
    row = grounded(keyframe="key.png", box=box)
    assert row.boxes == () and "box" in row.off and len(row.notes) == 1
    row = grounded(keyframe="key.png", box=[box, [1, 1, 5, 5]])
    assert row.boxes == ((1.0, 1.0, 5.0, 5.0),) and "box" not in row.off


def test_a_box_without_area_is_told_from_no_box(grounded: Any) -> None:
    assert grounded(box=[1, 1, 0, 0]).off["box"] != grounded().off["box"]


# --- files


@pytest.mark.parametrize(
    "changes",
    [
        {"video": "no/such"},
        {"keyframe": "no/such"},
        {"frame": "no/such"},
        {"clip_w": "no/such", "clip_l": "clip_l"},
        {"clip_w": "clip_w", "clip_l": "no/such"},
        {"video": ["frames/frame_1.png", "no/such"]},
    ],
)
def test_a_missing_file_names_every_path_tried(refusal: Any, media: Path, changes: dict[str, Any]) -> None:
    message = refusal(**changes)
    assert f"tried {media / 'no/such'} and no/such" in message


def test_a_path_may_stand_without_media_dir(grounded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "here.mp4", range(4))
    assert grounded(video=str(tmp_path / "here.mp4")).video == str(tmp_path / "here.mp4")
    monkeypatch.chdir(tmp_path)
    assert grounded(video="here.mp4").video == "here.mp4"


def test_a_path_may_lack_its_suffix(grounded: Any, media: Path) -> None:
    assert grounded(video="a").video == str(media / "a.mp4")


def test_a_folder_and_a_list_of_frames(grounded: Any, media: Path) -> None:
    images = tuple(str(media / "frames" / f"frame_{number}.png") for number in range(1, 9))
    row = grounded(video="frames")
    assert row.video == images and row.video_key == "\n".join(images)
    assert grounded(video=["frames/frame_2.png", "frames/frame_1.png"]).video == (images[1], images[0])


def test_a_folder_is_shown_at_images_fps(grounded: Any) -> None:
    """Eight images last 4 s at 2 a second and 2 s at 4 a second."""
    assert grounded(video="frames", event=[2.5, 3.0], images_fps=2.0).outside == (0.0, 2.5)
    with pytest.raises(RowError, match=r"2\.00 s"):
        grounded(video="frames", event=[2.5, 3.2], images_fps=4.0)


def test_clip_folders_stand_in_for_an_event(grounded: Any, media: Path) -> None:
    row = grounded(clip_w="clip_w", clip_l="clip_l")
    assert row.clip_images == tuple(str(media / "clip_w" / f"frame_{number}.png") for number in (1, 2))
    assert row.clip_negative_images == tuple(str(media / "clip_l" / f"frame_{number}.png") for number in (1, 2, 3))
    assert row.off.keys() == {"keyframe", "box"}


@pytest.mark.parametrize("name", ["video", "frame"])
def test_a_folder_without_images_is_refused(refusal: Any, name: str) -> None:
    assert "nothing holds no images" in refusal(**{name: "nothing"})


@pytest.mark.parametrize("name", ["video", "keyframe"])
def test_a_broken_file_is_refused_by_name(refusal: Any, media: Path, name: str) -> None:
    assert str(media / "broken.mp4") in refusal(**{name: "broken.mp4"})


# --- text and back


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"event": [[1, 2], [3, 4.5]], "keyframe": 1.25, "box": [[1, 2, 3, 4], [60, 1, 30, 0.1]], "id": "größe"},
        {"video": "frames", "keyframe": "keys", "clip_w": "clip_w", "clip_l": "clip_l", "own": 3},
    ],
)
def test_through_json_and_back(grounded: Any, changes: dict[str, Any]) -> None:
    row = grounded(**changes)
    again = GroundedRow.from_json(row.to_json())
    assert again == row  # a list in place of a tuple would differ
