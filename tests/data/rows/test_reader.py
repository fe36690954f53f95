"""Files of rows: one text a row, with the place it came from, whatever types its fields have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import Dataset

from vistadpo_plugin.data.rows.reader import TEXT, WHERE, load_rows


def load(*files: Path) -> list[tuple[str, object]]:
    """(place, decoded row) of every row."""
    rows = load_rows("json", data_files=[str(file) for file in files])
    return [(row[WHERE], json.loads(row[TEXT])) for row in rows]


MIXED = [
    {"event": [1, 2]},
    {"event": [[1, 2], [3, 4]]},
    {"event": None, "keyframe": "a.png"},
    {"keyframe": 1.5, "id": 3},
]


def test_a_field_may_change_its_type_from_line_to_line(tmp_path: Path) -> None:
    """Arrow, through which the host reads, refuses [1, 2] beside [[1, 2], [3, 4]]."""
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in MIXED))
    assert load(file) == [(f"rows.jsonl:{number}", row) for number, row in enumerate(MIXED, start=1)]


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('\n{"id": 1}\n\n  \t\n{"id": 2}\n\n')
    assert load(file) == [("rows.jsonl:2", {"id": 1}), ("rows.jsonl:5", {"id": 2})]


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"id": 1}\r\n{"id": 2}\r\n')
    assert load(file) == [("rows.jsonl:1", {"id": 1}), ("rows.jsonl:2", {"id": 2})]


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path: Path) -> None:
    """U+2028 and U+0085 end a line to str.splitlines, and JSON allows them inside strings."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a\u2028b\u0085c"}\n{"id": 2}\n', encoding="utf-8")
    assert load(file) == [("rows.jsonl:1", {"prompt": "a\u2028b\u0085c"}), ("rows.jsonl:2", {"id": 2})]


def test_a_json_list(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text("\ufeff \n" + json.dumps(MIXED + [{"prompt": "Größe?"}], indent=1), encoding="utf-8")
    assert load(file) == [(f"rows.json[{index}]", row) for index, row in enumerate(MIXED + [{"prompt": "Größe?"}])]


def test_half_a_surrogate_pair_in_a_json_list(tmp_path: Path) -> None:
    r"""A text cut in the middle of an emoji: valid JSON (\ud83d), and one bad answer must not stop the whole file."""
    file = tmp_path / "rows.json"
    file.write_text(r'[{"chosen": "nice \ud83d"}, {"id": 2}]')
    assert load(file) == [("rows.json[0]", {"chosen": "nice \ud83d"}), ("rows.json[1]", {"id": 2})]


def test_half_a_surrogate_pair_in_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(r'{"chosen": "nice \ud83d"}')
    assert load(file) == [("rows.jsonl:1", {"chosen": "nice \ud83d"})]


def test_a_bad_line_is_left_to_the_parser_of_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 1}\n{"id": \n{"id": 3}\n')
    rows = load_rows("json", data_files=[str(file)])
    assert rows[WHERE][:] == ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:3"]
    assert rows[TEXT][1] == '{"id": '


def test_a_broken_json_list_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('[{"id": 1},')
    with pytest.raises(ValueError, match=r"rows\.json is not valid JSON"):
        load(file)


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_a_file_without_rows_is_refused_by_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "none.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"none\.json: no rows"):
        load(file)


def test_a_file_that_is_no_utf_8_is_refused_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.jsonl"
    file.write_bytes('{"id": 1}\r\n{"prompt": "Größe?"}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.jsonl, line 2: not UTF-8"):
        load(file)


def test_several_files_come_in_name_order(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("b.jsonl", "a.jsonl")]
    for file in files:
        file.write_text('{"id": 1}\n{"id": 2}\n')
    assert [where for where, _ in load(*files)] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1", "b.jsonl:2"]


def test_typed_files_go_the_usual_way(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    Dataset.from_dict({"id": [1, 2], "prompt": ["a", "b"]}).to_parquet(str(file))
    rows = load_rows("parquet", data_files=[str(file)], split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.to_list() == [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b"}]
