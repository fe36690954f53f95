"""A key given twice is an error; a list is taken apart as it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vistadpo_plugin.data.rows.dataset_info import read_info
from vistadpo_plugin.data.rows.reader import read_rows
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.data.rows.strict_json import RepeatedKey, loads, split_list
from vistadpo_plugin.validation.source import find_source

ROW = '{"video": "a.mp4", "prompt": "?", "chosen": "A dog.", "rejected": "A cat.", "chosen": "A cow."}'
LAST = ', "chosen": "A cow."'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "text",
    [
        ROW,
        ROW.replace('"chosen": "A cow."', '"box": {"x": 1, "y": 1, "w": 2, "h": 2, "x": 3}'),
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_key_given_twice_is_an_error_of_its_row(text: str) -> None:
    with pytest.raises(RowError, match=r'rows\.jsonl:3: the key "(chosen|x|a)" is given twice') as caught:
        parse_row(text, "rows.jsonl:3")
    assert caught.value.kind == "repeated-key"


def test_the_other_rows_of_a_list_are_read(tmp_path: Path) -> None:
    """As lines are: the list as a whole is sound."""
    path = tmp_path / "rows.json"
    path.write_text(
        f"[{ROW.replace(', ' + chr(34) + 'chosen' + chr(34) + ': ' + chr(34) + 'A cow.' + chr(34), '')},\n{ROW}]"
    )
    (_, good), (where, bad) = read_rows(str(path))
    assert parse_row(good, "x").chosen == "A dog." and where == "rows.json[1]"
    with pytest.raises(RowError, match='"chosen" is given twice'):
        parse_row(bad, where)


def test_a_list_of_data_sets_is_held_to_it_too(tmp_path: Path) -> None:
    """Of two data sets with one name the first would be lost when the list is written again."""
    path = tmp_path / "dataset_info.json"
    text = '{"rows": {"file_name": "a.jsonl", "formatting": "vistadpo"}, "rows": {"file_name": "b.jsonl"}}'
    path.write_text(text)
    with pytest.raises(
        ValueError, match='dataset_info.json is not valid JSON .*"rows" is given twice.*not overwritten'
    ):
        read_info(tmp_path)
    with pytest.raises(ValueError, match='dataset_info.json: cannot be read as JSON .*"rows" is given twice'):
        find_source("rows", str(tmp_path))
    assert path.read_text() == text


@given(st.lists(VALUES), st.sampled_from([None, 1]))
def test_elements_are_those_of_the_list(values: list[object], indent: int | None) -> None:
    text = f" \n{json.dumps(values, indent=indent)}\n "
    assert [json.loads(element) for element in split_list(text)] == json.loads(text)
    assert loads(text) == json.loads(text)


@pytest.mark.parametrize("text", ["[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1]]", "[1] 2", '["a]', "[{]", "[nope]"])
def test_what_is_no_list_is_refused_where_json_refuses_it(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    with pytest.raises(json.JSONDecodeError) as ours:
        split_list(text)
    # Of a comma before the bracket Python's releases name one place or the other.
    assert abs(ours.value.pos - theirs.value.pos) <= (text == "[1,]")


def test_deep_and_equal_keys_at_other_depths() -> None:
    assert loads('{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}') == {"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}
    with pytest.raises(RepeatedKey, match='"c" is given twice'):
        loads('{"a": [{"b": {"c": 1, "c": 1}}]}')
