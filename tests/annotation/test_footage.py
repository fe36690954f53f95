"""Which videos are found, what is known of them, and which stretches and frames of them are shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from data.barcode_video import HEIGHT, WIDTH
from data.filmed import MATRICES, set_matrix, write_film

from vistadpo_plugin.annotation.drafting.draft import Settings
from vistadpo_plugin.annotation.drafting.footage import (
    Footage,
    Stretch,
    evenly,
    find_videos,
    shown_frames,
    stretches,
    survey,
)
from vistadpo_plugin.annotation.drafting.run import choose_videos
from vistadpo_plugin.datasets.accounting import Account


def footage(seconds: float, rate: float = 10.0, cuts: tuple[float, ...] = ()) -> Footage:
    times = np.arange(round(seconds * rate)) / rate
    return Footage("a", "a.mp4", "0", times, seconds, (160, 120), cuts, True)


def write_scenes(path: Path, lengths: list[float]) -> Path:
    """Scenes of one grey each, with some noise, ten frames a second."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, seconds in enumerate(lengths):
            for _ in range(round(seconds * 10)):
                picture = np.clip(rng.normal(60 + 90 * (number % 2), 8, (48, 64, 1)), 0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.repeat(3, axis=2), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_videos_are_named_by_their_place(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "a.MOV", "b/10.mkv", "b/2.webm", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_videos([tmp_path])) == ["a", "b/10", "b/2.mp4", "b/2.webm"]
    assert find_videos([tmp_path / "a.MOV", tmp_path / "b"])["10"] == tmp_path / "b" / "10.mkv"
    other = tmp_path / "other"
    other.mkdir()
    (other / "10.mkv").touch()
    with pytest.raises(ValueError, match="have one name, 10.mkv; name a folder that holds both"):
        find_videos([tmp_path / "b", other])


def test_what_is_known_of_a_video(tmp_path: Path) -> None:
    """Late, turned, cut short and copied ones; times are a player's."""
    write_film(tmp_path / "late.mkv", frames=12, late=1.0, sound=True)
    set_matrix(write_film(tmp_path / "turned.mp4", frames=12), MATRICES["a quarter to the right"])
    shutil.copy(tmp_path / "turned.mp4", tmp_path / "z_copy.mp4")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "turned.mp4").read_bytes()[:500])
    found, wrong = survey(find_videos([tmp_path]), False, 60.0, 1)
    late, turned, copy = found
    assert list(wrong) == ["cut"] and str(tmp_path / "cut.mp4") in wrong["cut"]
    assert (late.start, late.end) == (pytest.approx(1.0, abs=0.1), pytest.approx(2.2, abs=0.1)) and late.as_stored
    assert turned.size == (HEIGHT, WIDTH) and not turned.as_stored and turned.digest == copy.digest

    account = Account(noun="draft", done="asked for")
    assert choose_videos(found, wrong, Settings(drafts=2), account) == [late, turned]
    assert {reason: [place for place, _ in places] for reason, places in account.left_out.items()} == {
        "a video that cannot be read": ["cut-1", "cut-2"],
        "a video of the same content as another": ["z_copy-1", "z_copy-2"],
    }
    account = Account()
    assert choose_videos(found, {}, Settings(drafts=1, whole=True), account) == [late]
    assert account.read == 3 and list(account.left_out) == [
        "a video that is sent as frames only: it is shown turned, or its pixels are not square"
    ]


def test_cuts_are_found(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes.mp4", [2.0, 3.5, 1.5])
    write_film(tmp_path / "moving.mp4", frames=40)
    (moving, scenes), wrong = survey(find_videos([tmp_path]), True, 60.0, 1)
    assert not wrong and moving.cuts == ()
    # Looked for four times a second: found at the next look.
    assert [0 <= cut - true <= 0.25 for cut, true in zip(scenes.cuts, (2.0, 5.5), strict=True)] == [True, True]


def test_a_short_video_is_shown_whole_and_a_long_one_in_stretches() -> None:
    assert stretches(footage(60.0), 3, 60.0) == [Stretch(0.0, 60.0, 3)]
    # Thirds of 100 s, of each the 20 s in the middle.
    assert stretches(footage(300.0), 3, 20.0) == [Stretch(40, 60, 1), Stretch(140, 160, 1), Stretch(240, 260, 1)]
    assert stretches(footage(90.0), 3, 60.0) == [Stretch(0, 30, 1), Stretch(30, 60, 1), Stretch(60, 90, 1)]


def test_stretches_keep_to_scenes() -> None:
    """Of halves of 50 s: the scene from 12 to 50 and no longer than 30; the scene from 50 to 70, shorter than that."""
    cut = footage(100.0, cuts=(12.0, 70.0, 85.0))
    assert stretches(cut, 2, 30.0) == [Stretch(16, 46, 1), Stretch(50, 70, 1)]


@pytest.mark.parametrize(
    ("cuts", "count", "frames"),
    [
        ((), 5, [0, 10, 20, 29, 39]),
        ((), 100, list(range(40))),
        ((0.2,), 5, [1, 2, 14, 27, 39]),  # two frames of 40 are a scene of their own
        ((0.5, 2.0), 4, [2, 12, 20, 39]),
        ((1.0, 2.0, 3.0), 2, [0, 39]),  # more scenes than frames
    ],
)
def test_frames_are_even_and_every_scene_has_one(cuts: tuple[float, ...], count: int, frames: list[int]) -> None:
    assert shown_frames(footage(4.0, cuts=cuts), Stretch(0.0, 4.0, 1), count) == frames


def test_frames_of_a_stretch_lie_in_it() -> None:
    assert shown_frames(footage(10.0), Stretch(2.0, 3.0, 1), 3) == [20, 25, 30]
    # Seconds apart, as in a slide show: what is shown then.
    assert shown_frames(footage(100.0, rate=0.1), Stretch(12.0, 18.0, 1), 3) == [1]
    assert evenly([4, 5, 6], 1) == [5]
