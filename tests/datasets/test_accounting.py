"""The books: they balance, and what they show does not depend on the order in which things were written down."""

from __future__ import annotations

import pytest

from vistadpo_plugin.datasets.accounting import Account


def filled(order: list[int]) -> Account:
    account = Account(read=6, written=1)
    entries = [
        ("late", "q10", "at 9 s"),
        ("late", "q9", "at 8 s"),
        ("late", "q2", ""),
        ("late", "q30", ""),
        ("gone", "q1", ""),
    ]
    for index in order:
        account.leave_out(*entries[index])
    account.note("cut", "q4")
    return account


def test_table_and_examples() -> None:
    account = filled([0, 1, 2, 3, 4])
    account.check()
    assert account.table() == [
        ("questions read", 6), ("rows written", 1), ("left out: late", 4), ("left out: gone", 1), ("note: cut", 1),
    ]  # fmt: skip
    assert account.examples() == ["q2: late", "q9: at 8 s", "q10: at 9 s", "... and 1 more: late", "q1: gone"]
    assert [entry["where"] for entry in account.entries()] == ["q1", "q10", "q2", "q30", "q9"]
    other = filled([4, 3, 2, 1, 0])
    assert (other.format(), other.entries()) == (account.format(), account.entries())


def test_examples_of_one_name_are_counted_like_others() -> None:
    account = Account(read=4)
    for _ in range(4):
        account.leave_out("no id", "star.json")
    assert account.examples() == ["star.json: no id", "... and 3 more: no id"]


def test_what_is_lost_is_found_out() -> None:
    account = filled([0, 1])
    with pytest.raises(AssertionError, match="3 of 6 questions are neither written nor accounted for"):
        account.check()
