"""The expressions of `vistadpo rows filter`: what they mean, what is refused, and where the message points."""

from __future__ import annotations

from typing import Any

import pytest
from curation.made_entries import entry_of, row_of
from hypothesis import given, settings
from hypothesis import strategies as st

from vistadpo_plugin.curation.where import Where, WhereError

ROW = row_of(
    id="kitchen-17", kind="action", source="star", event=[[1.0, 3.0], [2.0, 4.5]], keyframe=2,
    box=[[0, 0, 4, 5], [9, 9, 3, 3]],
    checks={"blind": True, "iou": 0.75}, tags=["indoor", "day"],
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('kind == "action"', True),
        ("kind != 'action'", False),
        ('kind in ("action", "order") and source == "star"', True),
        ("event_seconds == 3.5", True),  # [1, 4.5] together
        ("box_area == 20", True),  # the larger of 20 and 9
        ("2 <= keyframe < 3", True),
        ("2 < keyframe < 3", False),
        ("not keyframe > 2", True),
        ("checks.blind", True),
        ("checks.iou >= 0.8", False),
        ('checks["iou"] * 4 - 1 == 2', True),
        ('"day" in tags and "night" not in tags', True),
        ("tags[0] == 'indoor' and event[1][0] == 2.0", True),
        ("tags[7] is None", True),
        ('"white" in chosen', True),
        ("words(chosen) == 4 and len(rejected) == 16", True),
        (r'matches(id, "^kitchen-\\d+$")', True),
        ('lower("A") == "a" and abs(-2) == 2 and -7 % 4 == 1', True),
        ('row["kind"] == kind', True),
        ("group", False),
        ("group is None and kind is not None", True),
        ("group == 'a'", False),
        ("group != 'a'", True),
        # Three values: what compares a field that is missing is unknown, and so is what hangs on it alone.
        ("weight > 1", None),
        ("not weight > 1", None),
        ("weight > 1 and kind == 'action'", None),
        ("weight > 1 and kind == 'order'", False),
        ("weight > 1 or kind == 'action'", True),
        ("weight > 1 or kind == 'order'", None),
        ("weight + 1 == 2", None),
        ("-weight == 2", None),
        ("len(group) > 2", None),
        ("'a' in group", None),
        ("group in (1, 2)", False),
        ("checks.absent > 1", None),
        ("weight.deeper.still > 1", None),
        ("weight and weight > 1", False),
        ("weight is None or weight > 1", True),
        ("1 < weight < 0", None),
        ("2 < 1 < weight", False),
        ("len(group) is None", True),
    ],
)
def test_what_an_expression_says_of_a_row(text: str, expected: bool | None) -> None:
    where = Where(text)
    where.check_names({*ROW, "weight"})
    assert where(entry_of(ROW)) is expected


def test_the_released_names_are_read_under_ours_too() -> None:
    row = row_of(rejected_2="A dog.", bbox="'x': 1.0, 'y': 2.0, 'w': 3.0, 'h': 4.0", frame="key.png")
    where = Where('rejected_irrelevant == rejected_2 == "A dog." and keyframe == "key.png" and box_area == 12')
    assert where(entry_of(row)) is True


@pytest.mark.parametrize(
    ("text", "character", "said"),
    [
        ("kind ==", 8, "not an expression"),
        ("kind = 'action'", 6, "not an expression"),
        ("kind == 'a' and open('x')", 17, "only these can be called: len"),
        ("().__class__.__bases__[0].__subclasses__()", 1, "only these can be called"),
        ("kind.lower() == 'a'", 1, "only these can be called"),
        ("'ä' == kind or [k for k in kind]", 16, "list comp is not allowed"),
        ("lambda: 1", 1, "lambda is not allowed"),
        ("(x := 1)", 2, "named expr is not allowed"),
        ("f'{kind}'", 1, "joined str is not allowed"),
        ("kind[0:1]", 6, "slice is not allowed"),
        ("{'a': 1}", 1, "dict is not allowed"),
        ("kind if 1 else 2", 1, "if exp is not allowed"),
        ("len(*tags)", 5, "starred is not allowed"),
        ("9 ** 9", 1, "of arithmetic there are + - * / % only"),
        ("keyframe << 2", 1, "of arithmetic there are"),
        ("~keyframe", 1, "write not"),
        ("kind is 'a'", 9, "only for None"),
        ("kind == b'a'", 9, "bytes values"),
        ("kind == ...", 9, "ellipsis values"),
        ("len(kind, 2)", 1, "len takes 1 value"),
        ("len", 1, "len is a function"),
        ("matches(kind, source)", 15, "the pattern is a text in quotes"),
        ("matches(kind, '(')", 15, "no regular expression"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place(text: str, character: int, said: str) -> None:
    with pytest.raises(WhereError) as caught:
        Where(text)
    first, shown, mark = str(caught.value).split("\n")
    assert first.startswith(f"--where, character {character}: ") and said in first
    assert shown.strip() == text and mark.index("^") == shown.index(text) + character - 1


@pytest.mark.parametrize("text", ["", "  ", "(" * 500 + "1" + ")" * 500, "not " * 5000 + "1", "1" + "+1" * 20000])
def test_what_cannot_be_parsed_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(WhereError):
        Where(text)(entry_of(ROW))


@pytest.mark.parametrize(
    ("text", "character", "said"),
    [
        ("source == 'a' or knd == 'a'", 18, "no row has a field knd; did you mean kind?"),
        ("kind == zebra", 9, "no row has a field zebra; text goes into quotes: 'zebra'"),
        ("row['knd'] != 'a'", 1, "no row has a field knd; did you mean kind?"),
        ("'a' == row.zebra", 8, "no row has a field zebra"),
    ],
)
def test_a_name_that_no_row_has(text: str, character: int, said: str) -> None:
    with pytest.raises(WhereError, match="character") as caught:
        Where(text).check_names(ROW)
    assert f"--where, character {character}: {said}" in str(caught.value)
    Where("box and group").check_names({"kind"})  # ours are known, if no row has one


@pytest.mark.parametrize(
    ("text", "character", "said"),
    [
        ("kind == 'action' and keyframe > '2'", 22, "a number cannot be ordered against a text"),
        ("id > 3", 1, "a text cannot be ordered against a number"),
        ("event < 3", 1, "a list cannot be ordered against a number"),
        ("kind * 3 == 'a'", 1, "arithmetic is for numbers, and here is a text"),
        ("1 / (keyframe - 2) > 0", 1, "division by zero"),
        ("kind.deeper == 1", 1, "a text has no item 'deeper'"),
        ("1 in kind", 1, "a number cannot be looked for in a text"),
        ("words(keyframe) > 1", 1, "words does not take a number"),
    ],
)
def test_values_that_do_not_go_name_the_row_and_the_place(text: str, character: int, said: str) -> None:
    with pytest.raises(WhereError) as caught:
        Where(text)(entry_of(ROW, "data/rows.jsonl:12"))
    assert f"--where, character {character}: data/rows.jsonl:12 (id kitchen-17): {said}" in str(caught.value)


TOKENS = st.sampled_from(
    "kind keyframe event checks tags row group == != < in not and or is None ( ) [ ] , . 1 -2 0.5 'a' + - * / % len "
    "words matches lower abs : := lambda ** @ ~ if else for { } * __class__ \\ é \x00".split(" ")
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(TOKENS, max_size=14).map(" ".join))
def test_no_text_does_anything_but_answer_or_be_refused(text: str) -> None:
    fields: dict[str, Any] = dict(ROW)
    try:
        assert Where(text)(entry_of(fields)) in (True, False, None)
    except WhereError:
        pass
    assert fields == ROW
