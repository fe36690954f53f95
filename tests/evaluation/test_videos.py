"""Where a question's video lies, and which part of it is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.videos import find_video, viewed


def question(**details: float) -> Question:
    return Question("q", "a/b.mp4", "?", "yes", "s", details)


def touch(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_found_as_named(tmp_path: Path) -> None:
    named, other = touch(tmp_path / "a" / "b.avi"), touch(tmp_path / "a" / "b.mp4")
    assert find_video(tmp_path, "a/b.avi") == named
    assert find_video(tmp_path, "a/b.mp4") == other
    assert find_video(tmp_path, "a/c.mp4") is None


@pytest.mark.parametrize("name", ["v_1.2", "v_1.2.mp4", "v_1.2.webm"])
def test_found_under_another_ending(name: str, tmp_path: Path) -> None:
    """YouTube ids hold dots and come as what could be downloaded."""
    assert find_video(tmp_path, name) is None
    path = touch(tmp_path / "v_1.2.mkv")
    assert find_video(tmp_path, name) == path


def test_a_folder_of_frames(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    frames = [touch(tmp_path / "frames" / f"{n}.jpg") for n in (1, 2, 10)]
    assert find_video(tmp_path, "frames") == tuple(frames)
    assert find_video(tmp_path, "empty") is None


def test_a_part_is_the_rows_event() -> None:
    assert viewed(question(), "a.mp4").events == ()
    assert viewed(question(start=0, end=1.5), "a.mp4").events == ((0.0, 1.5),)
    assert viewed(question(start=0, end=1.5, fps=3), ("1.jpg",)).events == ((0.0, 1.5),)


def test_seconds_of_frames_of_no_known_rate() -> None:
    with pytest.raises(ValueError, match="question q .* `fps`"):
        viewed(question(start=0, end=1.5), ("1.jpg",))
