"""The growing file of replies: torn lines, strange ids, and texts with line ends in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.replies import append_replies, first_few, known_replies, mend

ASKED = [Question(id_, "v.mp4", "?", "yes", "s") for id_ in ("a", "b", "c")]
WHOLE = '{"id": "a", "reply": "yes"}\n'


@pytest.mark.parametrize(
    ("content", "torn", "left"),
    [
        (WHOLE, False, WHOLE),
        (WHOLE + '{"id": "b", "rep', True, WHOLE),
        (WHOLE + "7", True, WHOLE),
        ('{"id": "b"', True, ""),
        (WHOLE.rstrip(), False, WHOLE),  # only the line end was lost
        ("", False, ""),
    ],
)
def test_mend(content: str, torn: bool, left: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text(content)
    assert mend(path) is torn
    assert path.read_text() == left


def test_a_file_torn_anywhere_goes_on(tmp_path: Path) -> None:
    """Cut behind every byte, mended and continued: whole lines are kept, and nothing is asked twice."""
    path = tmp_path / "replies.jsonl"
    append_replies(path, [("a", "né\n"), ("b", "no")])
    content = path.read_bytes()
    first = content.index(b"\n")
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        mend(path)
        known = known_replies(path, ASKED)
        assert len(known) == (cut >= first) + (cut >= len(content) - 1), cut
        append_replies(path, [(question.id, "x") for question in ASKED if question.id not in known])
        assert list(known_replies(path, ASKED)) == ["a", "b", "c"]


@pytest.mark.parametrize("reply", ["", "a\nb", "a\u2028b", "a\x85b", "a\x1cb", '"', "日本 \ud83d"])
def test_any_text_comes_back(reply: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    append_replies(path, [("a", reply), ("b", "no")])
    assert known_replies(path, ASKED) == {"a": reply, "b": "no"}


def test_a_bad_byte_is_named_by_file_and_line(tmp_path: Path) -> None:
    """Wherever it is; in a torn last line it goes with the line."""
    path = tmp_path / "replies.jsonl"
    content = WHOLE.encode() + b'{"id": "b", "reply": "n\xffo"}\n' + b'{"id": "c", "reply": "yes"}'
    path.write_bytes(content)
    assert mend(path) is False and path.read_bytes() == content + b"\n"
    with pytest.raises(ValueError, match=r"replies\.jsonl, line 2: not UTF-8 text .*Remove the line"):
        known_replies(path, ASKED)
    path.write_bytes(WHOLE.encode() + b'{"id": "b", "reply": "\xff')
    assert mend(path) is True and path.read_bytes() == WHOLE.encode()


def test_replies_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    assert known_replies(path, ASKED) == {}
    append_replies(path, [("a", "x"), ("z", "x"), ("y", "x")])
    with pytest.raises(ValueError, match=r"2 replies \(y, z\) to no question"):
        known_replies(path, ASKED)


def test_first_few() -> None:
    assert first_few(["a"], "video", "videos") == "1 video (a)"
    assert first_few(list("abcd"), "video", "videos") == "4 videos (a, b, c, ...)"
