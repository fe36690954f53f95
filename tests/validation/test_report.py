"""The page and the JSON of a report whose contents are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.rows.grounding import assume_files
from vistadpo_plugin.data.rows.schema import parse_row
from vistadpo_plugin.training.summary import term_gaps, term_table
from vistadpo_plugin.validation.examine import Report
from vistadpo_plugin.validation.files import VideoFacts
from vistadpo_plugin.validation.kinds import KINDS, Finding
from vistadpo_plugin.validation.report import as_json, as_text
from vistadpo_plugin.validation.source import Source
from vistadpo_plugin.validation.texts import measure


@pytest.fixture
def report() -> Report:
    """Four rows, two of them usable; three videos; two errors, a warning of the whole, 13 notes."""
    rows = [
        parse_row(
            {"video": f"{n}.mp4", "prompt": "Eh?", "chosen": "A dog.", "rejected": "Ox", "event": [0, 1]}, f"r:{n}"
        )
        for n in range(2)
    ]
    vista = VistaArguments()
    made = Report(Source("r.jsonl", ("data/r.jsonl",), "data"), vista, "data", rows=4)
    made.findings = [
        Finding("length-bias", "r.jsonl", None, "long"),
        Finding("missing-text", "r.jsonl:3", "q\n3", "no answer \x1b[31m"),
        Finding("missing-text", "r.jsonl:4", None, "no prompt"),
        *(Finding("repeated-id", f"r.jsonl:{n}", "q", "as r.jsonl:0") for n in range(12)),
        Finding("one-video", "r.jsonl", None, "one"),
    ]
    made.usable = GroundedRows([assume_files(row) for row in rows])
    made.terms = {term: term_gaps(made.usable, term, made.view_keys) for term in vista.terms}
    made.videos = [
        VideoFacts("0.mp4", True, 40, 4.0, (160, 120)),
        VideoFacts("1.mp4", True, 100, 4.0, (160, 120)),
        VideoFacts("f/0.png", False, 6, 3.0, (64, 48)),
    ]
    made.texts = measure(rows)
    return made


def test_the_page(report: Report) -> None:
    page = as_text(report, shown=10)
    lines = page.splitlines()
    assert lines[0] == "r.jsonl: 4 rows, videos below data"
    assert lines[-1] == "2 of 4 rows cannot be used (2 errors, 1 warning, 13 notes)."
    heads = [line.split()[0] for line in lines if line[:1].isupper()]
    assert heads == ["ERRORS:", "WARNINGS:", "NOTES:", "TERMS:", "VIDEOS:", "TEXTS:"]
    text = page[page.index("  missing-text (2 rows): ") : page.index("WARNINGS")]
    assert KINDS["missing-text"].title in text and f"    > {KINDS['missing-text'].remedy}\n" in text
    assert "    r.jsonl:3 (id q\\n3): no answer \\x1b[31m\n    r.jsonl:4: no prompt\n" in text
    assert "  one-video: all rows" in page and "  length-bias: length alone" in page  # of the data set: no rows counted
    assert "    and 2 more (--all lists them)" in page and page.count("as r.jsonl:0") == 10
    assert "\n".join(term_table(report.usable, report.vista.weights, report.view_keys)) in page
    assert "  seconds      3 to 4, median 4\n  frames       6 to 100, median 40\n" in page
    assert "  per second   10 (1), 25 (1)\n  size         160x120 (2), 64x48 (1)\n" in page
    assert "`chosen` is longer than `rejected` in 100% of rows, shorter in 0%" in page


def test_everything_can_be_listed(report: Report) -> None:
    page = as_text(report, shown=None)
    assert "more (--all" not in page and page.count("as r.jsonl:0") == 12


def test_the_page_without_media(report: Report) -> None:
    report.media_dir, report.videos, report.findings, report.rows = None, [], [], 2
    lines = as_text(report, 10).splitlines()
    assert lines[0] == "r.jsonl: 2 rows, no videos looked at"
    assert lines[-1] == "All 2 rows can be used as far as the annotations tell (0 errors, 0 warnings, 0 notes)."
    assert not any(line.startswith("VIDEOS") for line in lines)


def test_the_page_without_rows(report: Report) -> None:
    empty = Report(report.source, report.vista, "data")
    assert as_text(empty, 10).splitlines()[-1] == "There are no rows (0 errors, 0 warnings, 0 notes)."


def test_the_json(report: Report) -> None:
    made: dict[str, Any] = as_json(report)
    assert (made["data"], made["files"], made["media_dir"]) == ("r.jsonl", ["data/r.jsonl"], "data")
    assert (made["rows"], made["usable"], len(made["findings"])) == (4, 2, 16)
    assert made["findings"][1] == {
        "kind": "missing-text", "severity": "error", "place": "r.jsonl:3", "line": 3, "id": "q\n3",
        "message": "no answer \x1b[31m",
    }  # fmt: skip
    assert made["terms"]["clip"] == {"rows": 2, "without": {}}
    assert made["terms"]["object"] == {"rows": 0, "without": {"no keyframe": 2}}
    assert made["videos"][1] == {
        "video": "1.mp4", "is_file": True, "frames": 100, "seconds": 4.0, "size": (160, 120), "late": 0.0,
        "frames_per_second": 25.0,
    }  # fmt: skip
    assert made["texts"]["chosen_longer"] == 2 and made["texts"]["lengths"]["rejected"]["mean"] == 2


def test_names_of_files_are_not_cut(report: Report) -> None:
    report.findings = [Finding("missing-file", "r.jsonl:1", None, "video not found: " + "x" * 300)]
    assert "x" * 300 in as_text(report, 10)
    assert Path("data/r.jsonl").name in as_text(report, 10)
