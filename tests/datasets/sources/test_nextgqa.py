"""NExT-GQA's files: what is read, what is refused, and that the real validation set is taken whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import SHARED, needs_shared
from nextgqa_made import LINES, write_nextgqa

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import IrrelevantPool, differing, draw_rejected, video_words
from vistadpo_plugin.datasets.sources.nextgqa import find_split, read_nextgqa
from vistadpo_plugin.datasets.text import content_words, plain


def test_a_question_keeps_its_texts_and_intervals(tmp_path: Path) -> None:
    account = Account()
    questions = read_nextgqa(write_nextgqa(tmp_path), "val", account)
    assert [question.id for question in questions] == [f"nextgqa/{line[0]}/{line[1]}" for line in LINES]
    second = questions[1]
    assert second.prompt == "What did the boy do after sitting down?"
    assert second.right == "Hold the girl's hand."
    assert set(second.wrong) == {"Drink water.", "Jump.", "Sing.", "Run away."}
    assert second.events == ((0.5, 1.0), (2.0, 3.5))
    assert (second.video, second.kind) == ("1001", "TN")
    assert (account.read, account.left_out) == (5, {})


BAD = {
    "an empty field": ("2", "0", "CW", "  ", ("a", "b", "c", "d", "e"), [[0, 1]]),
    "no interval for the question": ("2", "0", "CW", "why", ("a b", "c", "d", "e", "f"), None),
    "an interval that is no [start, end] in seconds": ("2", "0", "CW", "why", ("x", "c", "d", "e", "f"), [[1, "2"]]),
    "an interval that starts before 0 or ends before it starts": ("2", "0", "CW", "w", ("x", *"cdef"), [[2, 1]]),
    "no option says anything else than the right one": ("2", "0", "CW", "w", ("x", "X", "x.", " x", "x"), [[0, 1]]),
    "the same video_id and qid a second time": LINES[0],
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path, reason: str) -> None:
    account = Account()
    questions = read_nextgqa(write_nextgqa(tmp_path, [*LINES, BAD[reason]]), "val", account)
    assert len(questions) == 5
    account.written = len(questions)
    account.check()
    assert {name: len(places) for name, places in account.left_out.items()} == {reason: 1}


def test_an_answer_that_is_no_option_and_intervals_without_a_question(tmp_path: Path) -> None:
    write_nextgqa(tmp_path)
    text = (tmp_path / "val.csv").read_text().replace(",unwrap it,0,", ",eat it,0,")
    (tmp_path / "val.csv").write_text(text)
    grounding = json.loads((tmp_path / "gsub_val.json").read_text())
    grounding["1003"]["location"]["9"] = [[0, 1]]
    (tmp_path / "gsub_val.json").write_text(json.dumps(grounding))
    account = Account()
    assert len(read_nextgqa(tmp_path, "val", account)) == 4
    assert list(account.left_out) == ["the answer is none of the five options"]
    # the interval of that question, and the one of no question
    assert [len(places) for places in account.noted.values()] == [2]


def test_order_of_lines_and_keys_does_not_matter(tmp_path: Path) -> None:
    first, second = Account(), Account()
    one = read_nextgqa(write_nextgqa(tmp_path / "a"), "val", first)
    other = read_nextgqa(write_nextgqa(tmp_path / "b", LINES[::-1]), "val", second)
    assert one == other and first == second


def test_which_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="splits with both: none"):
        find_split(tmp_path, None)
    write_nextgqa(tmp_path)
    assert find_split(tmp_path, None) == find_split(tmp_path, "val") == "val"
    with pytest.raises(ValueError, match="does not hold train.csv and gsub_train.json; splits with both: val"):
        find_split(tmp_path, "train")
    write_nextgqa(tmp_path, split="test")
    with pytest.raises(ValueError, match="splits test, val; say which with --split"):
        find_split(tmp_path, None)


def test_other_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    write_nextgqa(tmp_path)
    (tmp_path / "gsub_val.json").write_text('{"1001": {"duration": 4}}')
    with pytest.raises(ValueError, match="gsub_val.json is not NExT-GQA's grounding"):
        read_nextgqa(tmp_path, "val", Account())
    write_nextgqa(tmp_path)
    (tmp_path / "val.csv").write_text("video,question\n1,why\n")
    with pytest.raises(ValueError, match="has no column video_id, answer, qid"):
        read_nextgqa(tmp_path, "val", Account())


@needs_shared
def test_the_real_validation_set_is_taken_whole() -> None:
    """3,358 questions over 567 videos, of which 339 have several intervals (counted with a dozen lines of our own)."""
    folder = SHARED / "data" / "nextgqa"
    account = Account()
    questions = read_nextgqa(folder, "val", account)
    assert (account.read, len(questions), account.left_out) == (3358, 3358, {})
    assert len({question.video for question in questions}) == 567
    located = json.loads((folder / "gsub_val.json").read_text())
    assert sum(len(question.events) > 1 for question in questions) == 339
    pool, shown = IrrelevantPool(questions, 0), video_words(questions)
    drawn = []
    for question in questions:
        _, video, qid = question.id.split("/")
        assert [list(pair) for pair in question.events] == located[video]["location"][qid]
        assert draw_rejected(question, shown[video], frozenset(), 0) in differing(question)
        found = pool.draw(question)
        assert found.source.video != video and not found.close
        assert found.source.kind == question.kind
        assert plain(found.source.right) not in {plain(option) for option in question.options}
        assert not content_words(found.source.right) & content_words(question.prompt)
        drawn.append(found.source.id)
    # No answer is drawn so often that it alone tells which answer is the irrelevant one.
    assert max(Counter(drawn).values()) < 40
