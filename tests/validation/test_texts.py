"""What texts show: by themselves, against earlier rows, and over a data set."""

from __future__ import annotations

from typing import Any

import pytest
from doctor_media import PLAIN

from vistadpo_plugin.data.rows.schema import Row, parse_row
from vistadpo_plugin.validation.texts import (
    Lengths,
    is_damaged,
    judge_lengths,
    judge_repetitions,
    judge_text,
    measure,
    plain,
)


def rows(*changes: dict[str, Any]) -> list[Row]:
    """PLAIN with changes, with an id of its own where none is given."""
    return [parse_row({"id": f"q{n}", **PLAIN, **change}, f"rows.jsonl:{n}") for n, change in enumerate(changes, 1)]


def found(**changes: Any) -> dict[str, str]:
    return dict(judge_text(rows(changes)[0]))


def test_texts_that_say_the_same() -> None:
    assert plain(" A  dog.\n") == plain("a dog") != plain("a dog?!x")
    assert plain("<video>\nWhat?") == plain("what")
    assert plain("?") != plain("!") and plain("3.5") != plain("35") and plain("-5") != plain("5")


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"rejected": "a dog"}, "same-answers", "`chosen` and `rejected` are the same text: 'A dog.'"),
        ({"rejected_irrelevant": "A DOG."}, "same-answers", "`chosen` and `rejected_irrelevant`"),
        ({"rejected_irrelevant": "A cat"}, "same-rejected", "'A cat.'"),
        ({"chosen": "x" * 31, "rejected": "y" * 10}, "length-gap", "`chosen` has 31 characters, `rejected` 10"),
        ({"chosen": "y" * 10, "rejected": "x" * 31}, "length-gap", "`chosen` has 10 characters, `rejected` 31"),
        ({"chosen": "A \ufffdber dog."}, "odd-characters", "`chosen`"),
        ({"prompt": "What moves\x07?"}, "odd-characters", "`prompt`"),
        ({"rejected": "A caf\u00c3\u00a9."}, "odd-characters", "`rejected`"),
        ({"rejected": "A cat.\n"}, "outer-space", "`rejected`"),
        ({"rejected_irrelevant": " A boat."}, "outer-space", "`rejected_irrelevant`"),
    ],
)
def test_one_odd_text_is_one_finding(changes: dict[str, Any], kind: str, says: str) -> None:
    findings = found(**changes)
    assert list(findings) == [kind] and says in findings[kind]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"chosen": "x" * 30, "rejected": "y" * 10},  # three times, not more
        {"chosen": "Yes, it is one.", "rejected": "No."},  # five times, but by 12 characters
        {"prompt": " <video> What moves? "},
        {"chosen": "Caf\u00e9 \u2019n\u2019 \u4e2d\u6587 \U0001f600\tok"},
    ],
)
def test_sound_texts_earn_nothing(changes: dict[str, Any]) -> None:
    assert found(**changes) == {}


@pytest.mark.parametrize("text", ["caf\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "a\x00b", "a\x85b", "\ufffd"])
def test_damaged(text: str) -> None:
    assert is_damaged(text)


@pytest.mark.parametrize("text", ["caf\u00e9", "it\u2019s", "\u00dcber", "a\n\tb", "\u00a9 \u00ab x \u00bb", "\u0416"])
def test_not_damaged(text: str) -> None:
    assert not is_damaged(text)


def repeated(*changes: dict[str, Any]) -> list[tuple[int, str, str]]:
    return list(judge_repetitions(rows(*changes)))


def test_a_copy_is_told_from_another_answer_to_the_same_question() -> None:
    found = repeated({}, {"chosen": "a DOG"}, {"chosen": "A puppy."}, {"video": "b.mp4"}, {"prompt": "Who moves?"})
    assert found == [
        (1, "repeated-row", "as rows.jsonl:1 (id q1)"),
        (2, "repeated-question", "as rows.jsonl:1 (id q1)"),
    ]


def test_a_copy_of_a_copy_names_the_first() -> None:
    assert [message for _, _, message in repeated({}, {}, {})] == ["as rows.jsonl:1 (id q1)"] * 2


def test_another_irrelevant_answer_is_no_copy() -> None:
    assert [kind for _, kind, _ in repeated({}, {"rejected_irrelevant": "A boat."})] == ["repeated-question"]


@pytest.mark.parametrize("field", ["rejected", "rejected_irrelevant"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_contradiction_is_found_either_way_round(field: str, turned: bool) -> None:
    first, second = {"chosen": "A fox."}, {"chosen": "A hen.", field: "a fox"}
    found = repeated(second, first) if turned else repeated(first, second)
    assert [(index, kind) for index, kind, _ in found] == [(1, "repeated-question"), (1, "contradiction")]
    assert "rows.jsonl:1 (id q1)" in found[1][2]


def test_ids_are_compared_where_they_are_given() -> None:
    given = repeated({"id": 7, "prompt": "1"}, {"id": "7", "prompt": "2"}, {"id": 8, "prompt": "3"})
    assert given == [(1, "repeated-id", "as rows.jsonl:1 (id 7)")]
    assert repeated({"id": None, "prompt": "1"}, {"id": None, "prompt": "2"}) == []


def test_lengths_by_hand() -> None:
    """Prompts of 11, 11 and 3 characters; chosen 6, 2, 6; rejected 6, 6, 2; one irrelevant answer of 5."""
    statistics = measure(
        rows({}, {"chosen": "Ox", "rejected_irrelevant": "Boat."}, {"prompt": "Eh?", "rejected": "Ox"})
    )
    assert statistics.lengths == {
        "prompt": Lengths(3, pytest.approx(25 / 3), 11, 3, 11),
        "chosen": Lengths(3, pytest.approx(14 / 3), 6, 2, 6),
        "rejected": Lengths(3, pytest.approx(14 / 3), 6, 2, 6),
        "rejected_irrelevant": Lengths(1, 5, 5, 5, 5),
    }
    assert (statistics.chosen_longer, statistics.chosen_shorter) == (1, 1)


def bias(longer: int, shorter: int, equal: int = 0) -> list[tuple[str, str]]:
    """Findings for so many rows whose chosen answer is 8 characters against 4, 4 against 8, and 4 against 4."""
    pairs = [("x" * 8, "y" * 4)] * longer + [("x" * 4, "y" * 8)] * shorter + [("x" * 4, "y" * 4)] * equal
    return list(judge_lengths(measure(rows(*({"chosen": chosen, "rejected": rejected} for chosen, rejected in pairs)))))


def test_length_bias_is_reported_from_70_percent_of_20_rows_on() -> None:
    ((kind, message),) = bias(14, 6)
    assert kind == "length-bias"
    # 14 * 8 + 6 * 4 = 136 over 20 rows; 14 * 4 + 6 * 8 = 104
    assert "longer answer in 14 of 20 rows (70%; mean 7 characters against 5)" in message
    ((_, message),) = bias(0, 20, 100)
    assert "shorter answer in 20 of 20 rows (100%" in message
    assert bias(13, 7) == bias(14, 5) == bias(10, 10) == []
