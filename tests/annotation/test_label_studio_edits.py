"""Rows to Label Studio's tasks and back: what nobody edited stays to the last character, edits are applied."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotation.label_studio_made import annotation, draft_of, read_tasks, result, write_export
from data.barcode_video import draw, write_video

from vistadpo_plugin.commands.annotate.export import main as export
from vistadpo_plugin.commands.annotate.import_rows import main as import_rows

PLAIN = {"prompt": "What?", "chosen": "This.", "rejected": "That."}

# As somebody may write them, and as Python's json would not: all of it has to come back.
LINES = [
    r'{"id":1,"video":"a","prompt":"  What\u2026 <video> ?","chosen":"é\n\"x\"","rejected":"b ","event":[ 0.10,1.0e0 ],'
    r'"keyframe":3e-1,"box":{"x":1,"y":2.50,"w":3,"h":4},"score":1.10,"decide":["Is it so?"],"checks":{"box":0.7}}',
    '{"prompt": "?", "video": "a.mp4", "chosen": "1", "rejected": "2", "event": [[2.03, 2.07], [0.4, 0.8], [0.7, 1]]}',
    '{"video": "a", "prompt": "?", "chosen": "1", "rejected": "2",'
    ' "box": [[-3, 40, 9.333, 20], [200, 1, 2, 2], [5, 5, 0, 1]]}',
    '{"video": "a", "prompt": "?", "chosen": "1", "rejected": "2", "keyframe": "key.png",'
    """ "bbox": "'x': 8.0, 'y': 8.0, 'w': 16.0, 'h': 16.0", "rejected_2": ""}""",
    '{"video": ["f/1.png", "f/2.png", "f/3.png"], "prompt": "?", "chosen": "1", "rejected": "2", "event": [0.5, 1]}',
]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Four seconds of barcodes, ten a second, and images."""
    write_video(tmp_path / "a.mp4", range(40))
    (tmp_path / "f").mkdir()
    for number in (1, 2, 3):
        draw(number).save(tmp_path / "f" / f"{number}.png")
    draw(7).save(tmp_path / "key.png")
    return tmp_path


def export_rows(folder: Path, lines: list[str]) -> list[dict[str, Any]]:
    """The tasks of rows whose media lie in `folder`."""
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    assert export([str(folder / "rows.jsonl"), "--to", "label-studio", str(folder / "review"), "--overwrite"]) == 0
    return read_tasks(folder / "review")


def import_export(folder: Path, tasks: list, annotations: list, *words: str, status: int = 0) -> list[str]:
    """The lines that come of annotations of tasks."""
    path = write_export(folder / "export.json", tasks, annotations)
    words = ("-o", str(folder / "back.jsonl"), "--overwrite", *words)
    assert import_rows([str(path), *words]) == status
    return (folder / "back.jsonl").read_text().splitlines()


def reviewed(media: Path, row: dict[str, Any], change: Any, status: int = 0) -> dict[str, Any]:
    """A row after one review that changes the results of its draft."""
    (task,) = export_rows(media, [json.dumps(row)])
    results = draft_of(task)
    changed = change(results)
    (line,) = import_export(media, [task], [[annotation(results if changed is None else changed)]], status=status)
    return json.loads(line)


def test_untouched_rows_come_back_to_the_last_character(media: Path) -> None:
    tasks = export_rows(media, LINES)
    assert import_export(media, tasks, [[annotation(draft_of(task))] for task in tasks]) == LINES


def test_a_browser_may_shift_a_box_by_less_than_anyone_can(media: Path) -> None:
    """A hundred-thousandth of a per cent, and white space at the ends of texts."""
    tasks = export_rows(media, LINES)
    annotations = []
    for task in tasks:
        results = draft_of(task)
        for each in results:
            if each["type"] == "rectanglelabels":
                each["value"]["x"] += 1e-5
                each["value"]["height"] -= 1e-5
            if each["type"] == "textarea":
                each["value"]["text"] = [each["value"]["text"][0].strip()]
        annotations.append([annotation(results)])
    assert import_export(media, tasks, annotations) == LINES


def test_rows_of_a_list_over_several_lines_become_a_line_each(media: Path) -> None:
    rows = [{"id": "a", "video": "a.mp4", **PLAIN}, {"id": "b", "video": "a.mp4", **PLAIN, "event": [0.5, 1.0]}]
    (media / "rows.json").write_text(json.dumps(rows, indent=2))
    assert export([str(media / "rows.json"), "--to", "label-studio", str(media / "review")]) == 0
    tasks = read_tasks(media / "review")
    back = import_export(media, tasks, [[annotation(draft_of(task))] for task in tasks])
    assert [json.loads(line) for line in back] == rows


def test_an_annotation_that_was_not_begun_from_the_draft_is_a_verdict_and_nothing_else(media: Path) -> None:
    tasks = export_rows(media, LINES)
    assert import_export(media, tasks, [[annotation([])] for _ in tasks]) == LINES


GROUNDED = {"id": "r", "video": "a.mp4", **PLAIN, "event": [0.55, 1.05], "keyframe": 0.8, "box": [8, 6, 16, 12]}


def test_of_a_list_of_rejected_answers_the_first_is_shown_and_edited(media: Path) -> None:
    row = {**PLAIN, "video": "a", "rejected": ["That.", "Those."], "rejected_weights": [0.6, 0.4]}

    def change(results: Any) -> None:
        assert result(results, "rejected")["text"] == ["That."]
        result(results, "rejected")["text"] = ["Not that."]

    assert reviewed(media, row, change)["rejected"] == ["Not that.", "Those."]
    assert reviewed(media, row, lambda results: None) == row


def test_phrases_of_an_edited_answer_are_dropped(media: Path) -> None:
    phrases = {"chosen": ["This"], "rejected": ["That"]}
    row = {**PLAIN, "video": "a", "phrases": phrases}

    def change(results: Any) -> None:
        result(results, "rejected")["text"] = ["Those."]

    assert reviewed(media, row, change) == {**row, "rejected": "Those.", "phrases": {"chosen": ["This"]}}


def test_an_edited_text(media: Path) -> None:
    def change(results: list) -> None:
        result(results, "chosen")["text"] = ["These."]

    assert reviewed(media, GROUNDED, change) == {**GROUNDED, "chosen": "These."}


def test_the_end_that_was_dragged_changes_and_the_other_does_not(media: Path) -> None:
    """0.55 to 1.05 holds pictures 6 to 10, ticks 7 to 11; the new last tick, 16, is picture 15, at 1.5 s."""

    def change(results: list) -> None:
        assert result(results, "event-0")["ranges"] == [{"start": 7, "end": 11}]
        result(results, "event-0")["ranges"] = [{"start": 7, "end": 16}]

    assert reviewed(media, GROUNDED, change) == {**GROUNDED, "event": [0.55, 1.5]}


def test_a_second_event_is_drawn(media: Path) -> None:
    def change(results: list) -> list:
        value = {"ranges": [{"start": 31, "end": 36}], "timelinelabels": ["Event"]}
        return [*results, {"id": "x", "from_name": "event", "to_name": "video", "value": value}]

    assert reviewed(media, GROUNDED, change) == {**GROUNDED, "event": [[0.55, 1.05], [3.0, 3.5]]}


def test_a_moved_box(media: Path) -> None:
    """The picture is 64 x 48: 12.5 % of its width are 8 px, 25 % are 16 px."""

    def change(results: list) -> None:
        assert result(results, "box-0")["x"] == 12.5
        result(results, "box-0")["x"] = 25.0

    assert reviewed(media, GROUNDED, change) == {**GROUNDED, "box": [16, 6, 16, 12]}


def test_event_and_box_are_taken_away(media: Path) -> None:
    gone = ("event-0", "box-0")
    back = reviewed(media, GROUNDED, lambda results: [each for each in results if each["id"] not in gone])
    assert back == {key: value for key, value in GROUNDED.items() if key not in ("event", "box")}


def test_a_moved_keyframe_takes_the_box_with_it(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The box was drawn on another picture. Tick 10 is picture 9, at 0.9 s."""

    def change(results: list) -> None:
        assert result(results, "keyframe")["ranges"] == [{"start": 9, "end": 9}]
        result(results, "keyframe")["ranges"] = [{"start": 10, "end": 10}]

    back = reviewed(media, GROUNDED, change)
    assert back == {**{key: value for key, value in GROUNDED.items() if key != "box"}, "keyframe": 0.9}
    assert "its box was of another picture and is dropped" in capsys.readouterr().out


def test_a_box_on_the_picture_of_a_row_without_keyframe(media: Path) -> None:
    """The picture is of the middle of the event, 0.8 s: drawing on it gives the row its keyframe."""
    row = {key: value for key, value in GROUNDED.items() if key not in ("keyframe", "box")}

    def change(results: list) -> list:
        value = {"x": 50.0, "y": 50.0, "width": 25.0, "height": 25.0, "rotation": 0, "rectanglelabels": ["Object"]}
        return [*results, {"id": "x", "from_name": "box", "to_name": "picture", "value": value}]

    assert reviewed(media, row, change) == {**row, "keyframe": 0.8, "box": [32, 24, 16, 12]}


def test_the_released_names_stay(media: Path) -> None:
    row = {"video": "a.mp4", **PLAIN, "rejected_2": "x", "bbox": "'x': 8, 'y': 6, 'w': 16, 'h': 12", "frame": "key.png"}

    def change(results: list) -> None:
        result(results, "rejected_irrelevant")["text"] = ["y"]
        result(results, "box-0")["width"] = 50.0

    assert reviewed(media, row, change) == {**row, "rejected_2": "y", "bbox": [8, 6, 32, 12]}


def test_only_accepted_rows_and_all_others_are_counted(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"id": name, "video": "a.mp4", **PLAIN}) for name in "abcdefgh"]
    tasks = export_rows(media, lines)
    draft = draft_of(tasks[0])
    emptied = [each for each in draft if each["id"] != "chosen"]
    turned = [*draft, {"from_name": "box", "value": {"x": 1, "y": 1, "width": 1, "height": 1, "rotation": 30}}]
    annotations = [
        [annotation(draft)],
        [annotation(draft, "reject")],
        [annotation(draft, "unsure")],
        [],
        [annotation(draft, None)],
        [{**annotation(draft), "was_cancelled": True}],
        [annotation(emptied)],
        [annotation(turned)],
    ]
    assert import_export(media, tasks, annotations, status=1) == lines[:1]
    told = capsys.readouterr().out
    for line, count in {
        "rows read": 8,
        "rows written": 1,
        "left out: rejected": 1,
        "left out: unsure": 1,
        "left out: nobody judged it": 3,
        "left out: accepted, but no row can be made of it": 2,
        "note: an annotation without a verdict": 1,
        "note: skipped by an annotator": 1,
    }.items():
        assert any(told_line.split() == [*line.split(), str(count)] for told_line in told.splitlines()), line
    assert "`chosen` was emptied" in told and "a box was turned" in told
    report = [json.loads(line) for line in (media / "back.report.jsonl").read_text().splitlines()]
    assert sum(entry["what"] == "left out" for entry in report) == 7


def test_several_annotators(media: Path) -> None:
    """More than half decide, and who accepted last edits; an annotator's later annotation replaces the earlier."""
    lines = [json.dumps({"id": name, "video": "a.mp4", **PLAIN}) for name in "abc"]
    tasks = export_rows(media, lines)
    first, second = draft_of(tasks[0]), draft_of(tasks[0])
    result(first, "chosen")["text"], result(second, "chosen")["text"] = ["One."], ["Two."]
    annotations = [
        [annotation(second, by=2, updated="2026-02-02"), annotation(first, by=1, updated="2026-01-01")],
        [annotation(first, by=1), annotation(first, "reject", by=2)],
        [annotation(first, "reject", by=1, updated="2026-01-01"), annotation(first, by=1, updated="2026-02-02")],
    ]
    back = [json.loads(line) for line in import_export(media, tasks, annotations)]
    assert [(row["id"], row["chosen"]) for row in back] == [("a", "Two."), ("c", "One.")]
    card = (media / "back.card.md").read_text()
    # accept twice against reject in one of two rows both judged; both accepted one row without event or box
    assert "| 1 and 2 | 2 | 50% | 0.00 | none | none |" in card


def test_nobody_is_named_unless_asked_for(media: Path) -> None:
    person = {"id": 3, "email": "ann@example.org", "first_name": "Ann"}
    tasks = export_rows(media, LINES[:1])
    said = [[annotation(draft_of(tasks[0]), by=person)]]
    for words, named in (((), False), (("--keep-annotators",), True)):
        (line,) = import_export(media, tasks, said, *words)
        assert ("ann@example.org" in line) == named
        assert "ann@example.org" not in (media / "back.card.md").read_text()
    assert json.loads(line) == {**json.loads(LINES[0]), "reviewed_by": ["ann@example.org"]}


def test_a_second_import_of_the_tasks_makes_no_second_row(media: Path) -> None:
    tasks = export_rows(media, LINES[:2])
    said = [[annotation(draft_of(task))] for task in tasks]
    assert import_export(media, tasks * 2, said * 2) == LINES[:2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ('{"id": 1}', "no list of tasks"),
        ('[{"id": 1, "annotator": 1, "verdict": "accept"}]', "JSON-MIN"),
        ('[{"id": 7, "annotations": null}]', "task 7: `annotations` is not what Label Studio writes there"),
        ('[{"id": 7, "annotations": [{"result": [{"value": 3}]}]}]', "`annotations.0.result.0.value` is not what"),
        ('[{"id": 7, "annotations": [{"result": [{"value": {"choices": "accept"}}]}]}]', "value.choices` is not"),
    ],
)
def test_files_that_are_no_export(content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "export.json").write_text(content)
    assert import_rows([str(tmp_path / "export.json"), "-o", str(tmp_path / "back.jsonl")]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "back.jsonl").exists()


def test_where_the_videos_of_rows_are_is_said(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Paths stay as they were, so elsewhere they do not hold."""
    tasks = export_rows(media, LINES[:2])
    path = write_export(media / "export.json", tasks, [[annotation(draft_of(task))] for task in tasks])
    assert import_rows([str(path), "-o", str(media / "back.jsonl")]) == 0
    assert "media_dir" not in capsys.readouterr().out
    assert import_rows([str(path), "-o", str(media / "new/back.jsonl")]) == 0
    told = capsys.readouterr().out
    assert f"of 2 of 2 rows\n    the video is not found from {media / 'new'}" in told and "  media_dir: " in told


def test_whatever_stands_in_an_export_is_no_traceback(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every part of the first of two tasks in turn is something else: its row is taken or not, or the file refused."""
    tasks = export_rows(media, LINES[:2])
    said = [annotation(draft_of(task)) for task in tasks]
    said[0]["result"][0]["value"]["text"] = ["Edited?"]
    path = write_export(media / "export.json", tasks, [[one] for one in said])
    others = [None, 7, -1e300, 10**400, float("inf"), True, "x", [], ["x"], [[]], {}, {"a": 1}]
    draw, statuses = random.Random(0), set[int]()
    for place in parts_of(json.loads(path.read_text())[0]):
        changed = json.loads(path.read_text())
        inner = changed[0]
        for key in place[:-1]:
            inner = inner[key]
        for other in draw.sample(others, 3):
            inner[place[-1]] = other
            (media / "changed.json").write_text(json.dumps(changed))
            statuses.add(import_rows([str(media / "changed.json"), "-o", str(media / "back.jsonl"), "--overwrite"]))
    assert statuses == {0, 1, 2}
    assert capsys.readouterr().err.count("vistadpo annotate import: ") > 50


def parts_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every part of a JSON value, but for itself."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*place, key)
        yield from parts_of(part, (*place, key))


def test_a_task_that_is_not_ours_is_said(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = export_rows(media, LINES[:1])
    broken = json.loads(json.dumps(tasks[0]))
    broken["data"]["vistadpo"]["ruler"] = {"rate": 0}
    said = annotation(draft_of(tasks[0]))
    assert import_export(media, [*tasks, {"data": {"text": "x"}}, broken], [[said]] * 3) == LINES[:1]
    told = capsys.readouterr().out
    assert "was not made by `vistadpo annotate export`" in told and "was changed" in told
