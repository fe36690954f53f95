"""Charades-STA, ActivityNet Captions and QVHighlights read into events, and what of them is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED
from intervals_made import (
    ACTIVITYNET,
    CHARADES,
    QVHIGHLIGHTS,
    highlight,
    write_activitynet,
    write_charades_sta,
    write_qvhighlights,
)

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.sources.intervals.events import Event, read_events


def read(path: Path) -> tuple[str, dict[str, Event], Account]:
    account = Account("sentence")
    kind, events = read_events(path, account)
    account.written = len(events)
    account.check()
    return kind, {event.id: event for event in events}, account


def test_charades_sta(tmp_path: Path) -> None:
    kind, events, account = read(write_charades_sta(tmp_path))
    assert (kind, account.read, account.left_out) == ("charades-sta", 10, {})
    first = events["charades-sta/AAAAA/0-5/1"]
    assert (first.video, first.sentence) == ("AAAAA", "A person is putting a book on a shelf.")
    assert first.windows == ((0.0, 5.0),) and first.keyframe is None and first.group is None
    # Sentences about one interval are counted in order of their text.
    assert events["charades-sta/BBBBB/7-14/1"].sentence == "Person flipped the light switch near the door."
    assert read(write_charades_sta(tmp_path, "\n".join(CHARADES.splitlines()[::-1])))[1] == events


def test_activitynet(tmp_path: Path) -> None:
    kind, events, account = read(write_activitynet(tmp_path))
    assert (kind, account.read, account.left_out) == ("activitynet", 10, {})
    event = events["activitynet/v_uqiMw7tQ1Cc/1"]
    assert (event.video, event.sentence) == ("v_uqiMw7tQ1Cc", "The coach helps the guy in red.")
    assert event.windows == ((13.79, 54.32),)


def test_qvhighlights(tmp_path: Path) -> None:
    """Clip 42, the most salient, is seconds 84 to 86; of 5 and 6, alike, it is the first. Cuts of one upload group."""
    kind, events, account = read(write_qvhighlights(tmp_path))
    assert (kind, account.read, account.left_out) == ("qvhighlights", 10, {})
    event = events["qvhighlights/9769"]
    assert event.windows == ((72, 82), (84, 94)) and event.asked == (84, 94) and event.keyframe == 85.0
    assert event.group == events["qvhighlights/10016"].group == "j7rJstUseKg"
    assert events["qvhighlights/3"].keyframe == 11.0 and events["qvhighlights/3"].group == "_6hnl_BrFvs"
    # A file of one line is a JSON object as well.
    assert read(write_qvhighlights(tmp_path, QVHIGHLIGHTS[:1]))[1] == {event.id: event}


def test_clips_and_scores_that_do_not_go_together_give_no_keyframe(tmp_path: Path) -> None:
    for clips, scores in (([1, 2], [[1, 1, 1]]), (["1"], [[1, 1, 1]]), ([1], [["4"]]), ([1], [[]])):
        line = highlight(1, "v_0_150", "A dog runs", [[0, 4], [8, 16]], clips, scores)
        event = read(write_qvhighlights(tmp_path, [line, QVHIGHLIGHTS[0]]))[1]["qvhighlights/1"]
        assert event.keyframe is None and event.asked == (8, 16)
        assert event.notes == ("no keyframe: clips and saliency scores that do not go together",)


def changed(video: str, **changes: Any) -> dict[str, Any]:
    return {**ACTIVITYNET, video: {"duration": 9.0, "timestamps": [[1, 2]], "sentences": ["A cat."], **changes}}


def shown(**changes: Any) -> list[Any]:
    return [*QVHIGHLIGHTS, highlight(1, "v_0_150", "A dog runs", [[0, 4]], [0]) | changes]


LEFT_OUT = [
    ("a line that is no `VIDEO start end##sentence`", "charades_sta_train.txt:11", CHARADES + "EEEEE 1 two##person."),
    ("a line that is no `VIDEO start end##sentence`", "charades_sta_train.txt:11", CHARADES + "EEEEE 1 2 person."),
    ("no sentence", "charades-sta/EEEEE/1-2/1", CHARADES + "EEEEE 1 2## ."),
    ("an interval that starts before 0 or does not end after it starts", "charades-sta/E/2-1/1", CHARADES + "E 2 1##x"),
    ("the same sentence about the same interval a second time", "charades-sta/CCCCC/2-9/3",
     CHARADES + "CCCCC 2.0 9.0##Person eats a sandwich"),
    ("sentences and timestamps of one video differ in number", "activitynet/v/0", changed("v", timestamps=[])),
    ("an interval that is no [start, end] in seconds", "activitynet/v/0", changed("v", timestamps=[[1, None]])),
    ("an interval that starts before 0 or does not end after it starts", "activitynet/v/0",
     changed("v", timestamps=[[34.77, 34.77]])),
    ("no sentence", "activitynet/v/0", changed("v", sentences=[None])),
    ("no relevant_windows (the test split keeps them back)", "qvhighlights/11",
     [*QVHIGHLIGHTS, {"qid": 11, "query": "A dog", "duration": 150, "vid": "v_0_150"}]),
    ("a line without a qid", "highlight_train_release.jsonl:11", shown(qid="7")),
    ("no video", "qvhighlights/1", shown(vid=None)),
    ("no interval", "qvhighlights/1", shown(relevant_windows=[])),
    ("the same id a second time", "qvhighlights/5", shown(qid=5)),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "where", "content"), LEFT_OUT)
def test_left_out_and_counted_with_its_place(tmp_path: Path, reason: str, where: str, content: Any) -> None:
    write = {str: write_charades_sta, dict: write_activitynet, list: write_qvhighlights}[type(content)]
    _, events, account = read(write(tmp_path, content))
    assert account.left_out == {reason: [(where, "")]} and (account.read, len(events)) == (11, 10)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"sentences": []}}', "AAAAA 0.0 5.0 person"])
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(ValueError, match="file is none of the three formats"):
        read_events(tmp_path / "file", Account())


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = write_qvhighlights(tmp_path)
    path.write_text(path.read_text() + '{"qid": 1, "que')
    with pytest.raises(ValueError, match=r"highlight_train_release.jsonl, line 11, is not valid JSON"):
        read_events(path, Account())


REAL = [
    # Lines of the files, counted with wc and with a few lines of our own; ActivityNet's bad intervals by eye.
    ("charades_sta/charades_sta_train.txt", 12408, 0),
    ("charades_sta/charades_sta_test.txt", 3720, 0),
    ("activitynet/train.json", 37421, 4),
    ("activitynet/val_1.json", 17505, 0),
    ("activitynet/val_2.json", 17031, 0),
    ("qvhighlights/highlight_train_release.jsonl", 7218, 0),
    ("qvhighlights/highlight_val_release.jsonl", 1550, 0),
    ("qvhighlights/highlight_test_release.jsonl", 1542, 1542),
]


@pytest.mark.parametrize(("name", "read_", "left_out"), REAL)
def test_the_real_files(name: str, read_: int, left_out: int) -> None:
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    _, events, account = read(path)
    assert (account.read, len(events)) == (read_, read_ - left_out)
