"""What a video's rows turn out to be once its file is read: a.mp4 has 40 frames at 10 a second, 160 x 120 pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_media import GROUNDED, PLAIN, SIZE, make_media

from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.data.video import packets, video
from vistadpo_plugin.validation import files
from vistadpo_plugin.validation.files import Problem, VideoFacts, VideoJob, VideoResult, inspect


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def look(media: Path) -> Callable[..., VideoResult]:
    """Inspect rows, which are GROUNDED with changes, of one video."""

    def run(*changes: dict[str, Any], decode: bool = True) -> VideoResult:
        rows = tuple(parse_row({**GROUNDED, **change}, f"rows.jsonl:{n}") for n, change in enumerate(changes, start=1))
        return inspect(VideoJob(rows, str(media), 2.0, decode))

    return run


def test_a_good_row_is_what_ground_makes_of_it(look: Callable[..., VideoResult], media: Path) -> None:
    result = look({})
    assert result.rows == (ground(parse_row(GROUNDED, "rows.jsonl:1"), str(media), 2.0),)
    assert result.facts == VideoFacts(str(media / "a.mp4"), True, 40, 4.0, SIZE) and result.facts.rate == 10


def test_a_folder_of_frames_is_shown_at_the_given_rate(look: Callable[..., VideoResult], media: Path) -> None:
    """Six frames at two a second last 3 s."""
    facts = look({"video": "frames"}).facts
    assert facts == VideoFacts(str(media / "frames" / "0.png"), False, 6, 3.0, SIZE)


def test_each_row_has_its_own_outcome(look: Callable[..., VideoResult]) -> None:
    late, good, lost = look({"event": [8, 9]}, {}, {"keyframe": "nowhere.png"}).rows
    assert isinstance(late, Problem) and late.kind == "event-outside-video" and "a.mp4" in late.message
    assert isinstance(good, GroundedRow)
    assert isinstance(lost, Problem) and lost.kind == "missing-file" and "nowhere.png" in lost.message


@pytest.mark.parametrize(
    ("change", "kind", "file"),
    [
        ({"video": "nowhere"}, "missing-file", "nowhere"),
        ({"video": "empty"}, "empty-folder", "empty"),
        ({"video": "broken.mp4"}, "unreadable-file", "broken.mp4"),
        ({"video": ["key.png", "broken.mp4"], "event": None, "keyframe": 0}, "undecodable-file", "broken.mp4"),
        ({"video": "hole", "event": [0, 0.5], "keyframe": 0}, "undecodable-file", "3.png"),
        ({"keyframe": "cut.png"}, "undecodable-file", "cut.png"),
        ({"keyframe": "broken.mp4"}, "unreadable-file", "broken.mp4"),
        ({"event": None, "clip_w": "frames", "clip_l": "hole"}, "undecodable-file", "3.png"),
        ({"event": None, "clip_w": "frames", "clip_l": "empty"}, "empty-folder", "empty"),
    ],
)
def test_a_bad_file_is_named(look: Callable[..., VideoResult], change: dict[str, Any], kind: str, file: str) -> None:
    (row,) = look(change).rows
    assert isinstance(row, Problem) and row.kind == kind and file in row.message


@pytest.mark.parametrize("field", ["rejected_video", "rejected_clip"])
def test_the_ends_of_a_rejected_view_are_decoded(
    look: Callable[..., VideoResult], media: Path, tmp_path: Path, field: str
) -> None:
    """As those of the row's own video; the row is named, and its own video and other rows are not to blame."""
    data = bytearray((media / "b.mp4").read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    middle = (begin + end) // 2
    data[middle:end] = bytes(end - middle)
    (tmp_path / "zeros.mp4").write_bytes(data)
    change = {field: ["b.mp4", str(tmp_path / "zeros.mp4")]}
    bad, good = look(change, {field: "b.mp4"}).rows
    assert isinstance(bad, Problem) and bad.kind == "undecodable-file" and "zeros.mp4" in bad.message
    assert isinstance(good, GroundedRow)
    assert all(isinstance(row, GroundedRow) for row in look(change, decode=False).rows)
    (row,) = look({"rejected_keyframe": ["key.png", "cut.png"]}).rows
    assert isinstance(row, Problem) and row.kind == "undecodable-file" and "cut.png" in row.message


def test_a_damaged_end_is_found_by_decoding_only(look: Callable[..., VideoResult], media: Path, tmp_path: Path) -> None:
    """Zeros over the second half of the frames' data, which lies before the index: packets remain, pictures do not."""
    data = bytearray((media / "a.mp4").read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    middle = (begin + end) // 2
    data[middle:end] = bytes(end - middle)
    (tmp_path / "zeros.mp4").write_bytes(data)
    change = {"video": str(tmp_path / "zeros.mp4")}
    (row,) = look(change).rows
    assert isinstance(row, Problem) and row.kind == "undecodable-file" and "zeros.mp4" in row.message
    (row,) = look(change, decode=False).rows
    assert isinstance(row, GroundedRow)


def test_frames_at_events_and_keyframes_are_decoded(
    look: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame i is at i/10 s. First row: event 1.0-2.0 s is frames 10 to 20; outside it the longest stretch is 2.0-4.0 s,
    which is frames 21 to 39; keyframe 15. Second row: 0.5-1.0 and 3.0-3.5 s are 5 to 10 and 30 to 35, between them lie
    11 to 29; keyframe 33. And the video's ends, 0 and 39, and to compare videos the frames nearest to 0.39, 1.17, 1.95,
    2.73 and 3.51 s.
    """
    decoded: list[set[int]] = []
    decode = video.decode_some

    def watch(path: str, known: Any, wanted: set[int], keep: Any) -> Any:
        decoded.append(wanted)
        return decode(path, known, wanted, keep)

    monkeypatch.setattr(video, "decode_some", watch)
    look({}, {"event": [[0.5, 1.0], [3.0, 3.5]], "keyframe": 3.3})
    assert decoded == [{0, 39, 10, 20, 21, 15, 5, 30, 35, 11, 29, 33} | {4, 12, 20, 27, 35}]


def test_a_video_is_opened_once_for_all_its_rows(
    look: Callable[..., VideoResult], media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.link(media / "a.mp4", tmp_path / "fresh.mp4")  # a name that no cache knows
    opened: list[str] = []
    open_video = packets.open_video

    def watch(path: str) -> Any:
        opened.append(path)
        return open_video(path)

    monkeypatch.setattr(packets, "open_video", watch)
    change = {"video": str(tmp_path / "fresh.mp4")}
    assert all(isinstance(row, GroundedRow) for row in look(*[change] * 50, decode=False).rows)
    assert opened == [str(tmp_path / "fresh.mp4")]


def test_what_nobody_foresaw_is_a_problem_too(
    look: Callable[..., VideoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise KeyError("sudden")

    monkeypatch.setattr(files, "ground", break_down)
    (row,) = look({}).rows
    assert isinstance(row, Problem) and row.kind == "unexpected-error" and "KeyError: 'sudden'" in row.message


def test_a_video_is_known_when_all_its_rows_are_bad(look: Callable[..., VideoResult], media: Path) -> None:
    result = look({"event": [8, 9]}, {"keyframe": 90})
    assert [row.kind for row in result.rows] == ["event-outside-video", "keyframe-outside-video"]  # type: ignore
    assert result.facts == VideoFacts(str(media / "a.mp4"), True, 40, 4.0, SIZE)
    assert look({"video": "broken.mp4"}).facts is None
    assert VideoFacts("a.mp4", True, 2, 0.0, SIZE).rate == 0


def test_plain_rows_are_decoded_to_the_end(look: Callable[..., VideoResult]) -> None:
    nothing = {name: None for name in set(GROUNDED) - set(PLAIN)}
    (row,) = look(nothing).rows
    assert isinstance(row, GroundedRow) and set(row.off) == {"event", "keyframe", "box"}
