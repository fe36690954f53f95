"""A file of rows in, everything that is wrong with it out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED, needs_shared
from doctor_media import GROUNDED, HANGS, PLAIN, inspect_or_hang, make_media

from vistadpo_plugin.validation import examine as examination
from vistadpo_plugin.validation.examine import Options, Report, examine
from vistadpo_plugin.validation.source import find_source


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def report(media: Path, tmp_path: Path) -> Callable[..., Report]:
    """Examine a file of these rows (or lines of text) with the media of this module, or other options."""

    def run(*rows: Any, **options: Any) -> Report:
        path = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
        return examine(find_source(str(path), None), Options(**{"media_dir": str(media), "given": True, **options}))

    return run


def places(report: Report) -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.line) for finding in report.findings]


B = {"video": "b.mp4"}


def test_sound_rows_have_no_findings_and_carry_every_term(report: Callable[..., Report]) -> None:
    made = report({"id": 1, **GROUNDED}, {"id": 2, **GROUNDED, **B})
    assert made.findings == [] and not made.has_errors and made.rows == len(made.usable) == 2
    assert {term: gaps[None] for term, gaps in made.terms.items()} == dict.fromkeys(
        ("response", "video", "clip", "object", "token"), 2
    )
    assert [Path(video.video).name for video in made.videos] == ["a.mp4", "b.mp4"]


def test_rows_a_term_counted_by_hand(report: Callable[..., Report]) -> None:
    """Of seven rows six are usable. Clip: rows 1 and 4; object: rows 1 and 3; token: all, with or without keyframe."""
    made = report(
        GROUNDED,
        {**PLAIN, **B},
        {**GROUNDED, **B, "event": None},
        {**GROUNDED, **B, "box": [9, 9, 0, 0], "prompt": "Who?"},
        {**GROUNDED, **B, "keyframe": None, "event": [0, 4], "prompt": "Why?"},
        {**GROUNDED, "rejected": ""},
        {**PLAIN, "prompt": "When?"},
    )
    assert len(made.usable) == 6
    assert {term: gaps[None] for term, gaps in made.terms.items()} == {
        "response": 6, "video": 6, "clip": 2, "object": 2, "token": 6
    }  # fmt: skip
    assert made.terms["clip"]["no event"] == 3 and made.terms["object"]["no keyframe"] == 3
    assert places(made) == [
        ("repeated-row", 3),
        ("box-without-area", 4),
        ("event-fills-video", 5),
        ("box-without-keyframe", 5),
        ("missing-text", 6),
    ]
    assert made.has_errors


def test_findings_come_in_the_order_of_the_rows_and_name_them(report: Callable[..., Report]) -> None:
    made = report({"id": "x", **GROUNDED, "video": "gone"}, "{", "", {"id": "y", **GROUNDED, "chosen": 3})
    assert [(finding.where, finding.kind) for finding in made.findings] == [
        ("rows.jsonl:1 (id x)", "missing-file"),
        ("rows.jsonl:2", "bad-json"),
        ("rows.jsonl:4 (id y)", "bad-text"),
    ]
    assert len(made.usable) == 0


def test_a_row_without_its_file_is_still_judged(report: Callable[..., Report]) -> None:
    made = report({**GROUNDED, "video": "gone", "box": [9, 9, 0, 0], "rejected": "a dog"})
    assert [kind for kind, _ in places(made)] == ["missing-file", "box-without-area", "same-answers"]


def test_media_that_are_not_here_are_said_once(report: Callable[..., Report], tmp_path: Path) -> None:
    """Nobody said where the videos are, and none of the two is beside the rows."""
    rows = [GROUNDED, {**GROUNDED, **B}, {**GROUNDED, "prompt": "Who?", "box": [9, 9, 0, 0]}]
    made = report(*rows, media_dir=str(tmp_path), given=False)
    assert places(made) == [("media-absent", None), ("box-without-area", 3)]
    assert "none of the 2 videos was found" in made.findings[0].message and str(tmp_path) in made.findings[0].message
    assert not made.has_errors and made.media_dir is None and len(made.usable) == 3
    assert made.terms["object"][None] == 2


def test_media_that_should_be_here_are_missed(report: Callable[..., Report], tmp_path: Path, media: Path) -> None:
    assert places(report(GROUNDED, media_dir=str(tmp_path)))[0] == ("missing-file", 1)
    some = report(GROUNDED, {**GROUNDED, "video": "gone"}, media_dir=str(media), given=False)
    assert ("missing-file", 2) in places(some) and len(some.usable) == 1


def test_without_media_no_file_is_looked_for(report: Callable[..., Report]) -> None:
    made = report({**GROUNDED, "video": "broken.mp4"}, {**GROUNDED, "event": [90, 91]}, media_dir=None)
    assert made.findings == [] and made.videos == [] and len(made.usable) == 2


def test_one_video_alone_has_no_mate(report: Callable[..., Report]) -> None:
    made = report(GROUNDED, {**GROUNDED, "prompt": "Who?"})
    assert places(made) == [("one-video", None)] and made.terms["video"][None] == 0
    assert "no row has a video term" in made.findings[0].message
    made = report(GROUNDED, {**GROUNDED, "prompt": "Who?", "rejected_video": "b.mp4"})
    assert places(made) == [("one-video", None)] and made.terms["video"][None] == 1
    assert "only rows with a `rejected_video` have a video term" in made.findings[0].message


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no rows"), (b"\n \n", "no rows"), (b'{"id": 1}\n"caf\xe9"', "line 2: not UTF-8"), (b"[1, 2", "not valid")],
)
def test_a_file_that_holds_no_rows_is_a_finding(media: Path, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    made = examine(find_source(str(tmp_path / "rows.jsonl"), None), Options(str(media)))
    (finding,) = made.findings
    assert finding.kind == "unreadable-rows" and says in finding.message and made.has_errors


def test_rows_of_a_json_list_are_numbered_from_0(media: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([GROUNDED, {**GROUNDED, "id": 4, "event": [3, 2]}]))
    made = examine(find_source(str(tmp_path / "rows.json"), None), Options(str(media)))
    assert [finding.where for finding in made.findings if finding.kind == "bad-event"] == ["rows.json[1] (id 4)"]


def test_a_video_that_hangs_is_named_and_the_rest_goes_on(
    report: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "inspect", inspect_or_hang)
    made = report({**GROUNDED, "video": HANGS}, GROUNDED, {**GROUNDED, **B}, time_limit=1.0)
    assert places(made) == [("file-hangs", 1)] and len(made.usable) == 2
    assert HANGS in made.findings[0].message and "--time-limit" in made.findings[0].message


DEGENERATE = {
    "missing-text": [585],
    "no-irrelevant-answer": [632],
    "box-without-area": [82, 113, 152, 421, 526, 542],
    # the later row of each pair; the earlier ones are 106, 287, 400, 82, 265, 362, 165, 344, 514
    "repeated-question": [273, 387, 417, 421, 503, 518, 570, 617, 633],
}
"""All that a reading of the released sample by plain JSON finds wrong, by line."""


@needs_shared
def test_the_released_sample_has_just_what_it_has() -> None:
    """Every degenerate row is named and none is invented; ids repeat because they are the names of the videos."""
    path = SHARED / "data" / "object_set.jsonl"
    source = find_source(str(path), None)
    made = examine(source, Options(source.media_dir))
    found = defaultdict(list)
    for finding in made.findings:
        found[finding.kind].append(finding.line)
    assert found.pop("media-absent") == [None]
    seen: set[str] = set()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    usable = [number for number in range(1, 636) if number not in DEGENERATE["missing-text"]]
    again = [number for number in usable if rows[number - 1]["id"] in seen or seen.add(rows[number - 1]["id"])]
    assert found.pop("repeated-id") == again and len(again) == 154
    assert found == DEGENERATE
    assert made.rows == 635 and len(made.usable) == 634
    assert {term: gaps[None] for term, gaps in made.terms.items()} == {
        "response": 634, "video": 634, "clip": 634, "object": 628, "token": 634
    }  # fmt: skip
    for finding in made.findings[1:]:
        assert finding.id == rows[finding.line - 1]["id"]
