"""The report's tables: figures with their counts, differences to the first model, and what is missing beside both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.report import format_report, model_entry, verdicts, write_report
from vistadpo_plugin.evaluation.score import Figure, Score

SETTINGS = {
    "model_name_or_path": "base-7b",
    "template": "video_llava",
    "video_maxlen": 8,
    "video_fps": 2.0,
    "decoding": "greedy, at most 16 new tokens",
}


def report(judge: Any = None, **models: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "questions": 409,
        "annotations": {"entire_questions.json": "a" * 64},
        "prompt": "{question}\nyes or no:",
        "judge": judge,
        "models": models,
    }
    return {"benchmarks": {"eventhallusion": entry}}


def cells(text: str, figure: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {figure} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def entry(missing: int = 0, **figures: Figure) -> dict[str, Any]:
    return model_entry(Score(figures, {"unparsable": 3, "missing": missing}, ["mix is interleave."]), SETTINGS, missing)


def test_base_and_tuned_side_by_side() -> None:
    """35/114 = 30.70 %, 38/114 = 33.33 %, so +2.63; scores 2.5 and 2.25 on 4 questions."""
    text = format_report(
        report(
            base=entry(entire=Figure(35, 114), score=Figure(10, 4, "of 5")),
            tuned=entry(entire=Figure(38, 114), score=Figure(9, 4, "of 5")),
            full=entry(entire=Figure(35, 114), score=Figure(0, 0, "of 5")),
        )
    )
    assert cells(text, "figure") == ["base", "tuned", "full", "tuned - base", "full - base"]
    assert cells(text, "entire") == ["30.7 (35/114)", "33.3 (38/114)", "30.7 (35/114)", "+2.6", "+0.0"]
    assert cells(text, "score") == ["2.50 (4)", "2.25 (4)", "none", "-0.25", "none"]
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1 and set(table[1]) == {"|", "-", " "}


def test_a_mean_of_fractions_is_not_shown_as_a_count() -> None:
    """A total over five subsets: 12.5 of 20 is 62.5 %, but no 12.5 questions were right."""
    assert cells(format_report(report(base=entry(total=Figure(12.5, 20)))), "total") == ["62.5 (20)"]


def test_a_difference_too_small_to_show_has_no_minus() -> None:
    text = format_report(report(base=entry(x=Figure(1000.4, 2000)), tuned=entry(x=Figure(1000, 2000))))
    assert cells(text, "x")[-1] == "+0.0"


def test_missing_stands_beside_every_figure() -> None:
    text = format_report(
        report(
            base=entry(entire=Figure(1, 2), mix=Figure(0, 0)),
            tuned=entry(missing=7, entire=Figure(1, 1), mix=Figure(0, 0)),
        )
    )
    assert cells(text, "entire") == ["50.0 (1/2)", "100.0 (1/1; 7 missing)", "+50.0 (partial)"]
    assert cells(text, "mix") == ["none", "none; 7 missing", "none"]


def test_a_figure_that_one_model_has_not() -> None:
    text = format_report(report(base=entry(entire=Figure(1, 2)), tuned=entry(mix=Figure(1, 2))))
    assert cells(text, "entire") == ["50.0 (1/2)", "none", "none"]
    assert cells(text, "mix") == ["none", "50.0 (1/2)", "none"]


def test_a_note_about_some_models_names_them() -> None:
    made = {name: entry(entire=Figure(1, 2)) for name in ("base", "tuned", "full")}
    made["base"]["notes"] = ["mix is interleave.", "9 replies say both."]
    made["full"]["notes"] = ["mix is interleave.", "9 replies say both."]
    lines = format_report(report(**made)).splitlines()
    assert lines.count("- mix is interleave.") == 1
    assert lines.count("- base, full: 9 replies say both.") == 1


def two_sided(**changes: tuple[Figure, Figure]) -> dict[str, Any]:
    """Benchmarks with a headline figure each, base beside tuned; mvbench and videomme must not fall."""
    benchmarks = {
        name: {
            **report(base=entry(main=first), tuned=entry(main=second))["benchmarks"]["eventhallusion"],
            "headline": "main",
        }
        for name, (first, second) in changes.items()
    }
    return {"benchmarks": benchmarks, "general": ["mvbench", "videomme"]}


def test_one_line_says_what_was_won_and_what_it_cost() -> None:
    """Hallucination: 40 to 50 %, and 3.0 to 2.9 of 5, two points of a hundred: (10 - 2) / 2. General: -1 and +0.5."""
    made = two_sided(
        videohallucer=(Figure(40, 100), Figure(50, 100)),
        video_chatgpt=(Figure(300, 100, "of 5"), Figure(290, 100, "of 5")),
        mvbench=(Figure(100, 200), Figure(98, 200)),
        videomme=(Figure(100, 200), Figure(101, 200)),
    )
    line = (
        "tuned against base: hallucination down by 4.0 points (videohallucer +10.0, video_chatgpt -2.0); "
        "general ability -0.2 points (mvbench -1.0, videomme +0.5), fell: mvbench."
    )
    assert line in format_report(made).splitlines()
    assert verdicts({**made, "general": []}) == []


def test_the_line_with_less_to_say() -> None:
    """A set without a figure is named, a fall too small to show is none, and what is partial says so."""
    made = two_sided(
        videohallucer=(Figure(50, 100), Figure(45, 100)),
        mvbench=(Figure(5000, 10000), Figure(4996, 10000)),
        videomme=(Figure(0, 0), Figure(1, 2)),
    )
    made["benchmarks"]["mvbench"]["models"]["tuned"]["counts"]["missing"] = 3
    assert verdicts(made) == [
        "tuned against base: hallucination up by 5.0 points (videohallucer -5.0); "
        "general ability +0.0 points (mvbench +0.0), none fell; without videomme (partial)."
    ]
    only = two_sided(mvbench=(Figure(1, 2), Figure(2, 2)))
    assert verdicts(only) == ["tuned against base: general ability +50.0 points (mvbench +50.0), none fell."]


def test_it_says_how_it_was_made() -> None:
    judge = {"model": "judge-1", "temperature": 0}
    stranger = model_entry(Score({}), None, 0)
    text = format_report(report(judge=judge, base=entry(entire=Figure(1, 2)), other=stranger))
    for line in (
        "- questions: 409",
        f"- annotations: entire_questions.json, sha256 {'a' * 64}",
        r'- prompt: `"{question}\nyes or no:"`',
        '- judge: `{"model": "judge-1", "temperature": 0}`',
        "- base: base-7b; template video_llava; frames: video_maxlen 8, video_fps 2.0; "
        "decoding: greedy, at most 16 new tokens",
        "- base, counts: unparsable 3, missing 0",
        "- other: nothing says how the replies were made",
        "- base: mix is interleave.",
    ):
        assert line in text.splitlines()
    assert "- judge: none" in format_report(report(base=entry()))


def test_both_files_are_written(tmp_path: Path) -> None:
    content = report(base=entry(entire=Figure(1, 2)))
    text = write_report(tmp_path, content)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == text
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    made = written["benchmarks"]["eventhallusion"]["models"]["base"]
    assert made["figures"]["entire"] == {"total": 1, "of": 2, "unit": "%", "value": 50.0}
    assert made["counts"] == {"unparsable": 3, "missing": 0}
    assert made["settings"] == SETTINGS
