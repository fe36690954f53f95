"""Export and score, on EventHallusion's layout with replies written by hand; no model."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eventhallusion_made import ANSWERS, IDS, QUESTIONS, write_recipe, write_replies
from local_endpoint import serve, whole

from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.recipe import RecipeError, read_recipe
from vistadpo_plugin.evaluation.run import _judge_prompt, check_judge, export, score
from vistadpo_plugin.evaluation.settings import make_settings, write_settings

FOLDER = "eventhallusion"


def reply(folder: Path, model: str, replies: dict[str, str], settings: dict[str, Any] | None = None) -> None:
    if settings is not None:
        write_settings(folder / "out" / FOLDER / model, settings)
    write_replies(folder / "out" / FOLDER / model, replies)


def test_export_writes_what_the_host_can_be_asked(tmp_path: Path) -> None:
    exported = export(read_recipe(write_recipe(tmp_path)))
    lines = (tmp_path / "out" / FOLDER / "questions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == IDS == [question.id for question in exported[FOLDER]]
    first = json.loads(lines[0])
    assert first["video"] == "entire/entire_001.mp4"
    assert first["prompt"] == "Does the red circle jump?\nPlease answer yes or no:"


def test_an_id_of_two_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vistadpo_plugin.evaluation.benchmarks.eventhallusion import EventHallusion

    questions = EventHallusion.questions
    monkeypatch.setattr(EventHallusion, "questions", lambda self, folder: questions(self, folder) * 2)
    recipe = read_recipe(write_recipe(tmp_path))
    with pytest.raises(ValueError, match=r"eventhallusion: 8 ids \(entire_001/0, .*\) given to several"):
        export(recipe)
    assert not (tmp_path / "out").exists()


def test_score_by_hand(tmp_path: Path) -> None:
    """Always no: right where the answer is No., 5 of 8 (2/3, 2/3, 1/2). The oracle is right everywhere."""
    assert ANSWERS == ["Yes.", "No.", "No.", "No.", "Yes.", "No.", "Yes.", "No."]
    recipe = read_recipe(write_recipe(tmp_path))
    reply(tmp_path, "base", dict.fromkeys(IDS, "No"))
    reply(tmp_path, "tuned", dict(zip(IDS, ANSWERS, strict=True)))
    entry = score(recipe, export(recipe), allow_partial=False)["benchmarks"][FOLDER]
    base, tuned = (entry["models"][model]["figures"] for model in ("base", "tuned"))
    assert {name: (base[name]["total"], base[name]["of"]) for name in base} == {
        "entire": (2, 3),
        "mix": (2, 3),
        "misleading": (1, 2),
        "overall": (5, 8),
        "yes rate": (0, 8),
    }
    assert tuned["overall"]["value"] == 100 and tuned["yes rate"]["value"] == 37.5
    assert entry["questions"] == 8 and entry["judge"] is None
    asked = tmp_path / "asked"
    assert entry["annotations"] == {
        f"{split}_questions.json": hashlib.sha256((asked / f"{split}_questions.json").read_bytes()).hexdigest()
        for split in QUESTIONS
    }
    assert entry["models"]["base"]["settings"] is None  # replies from elsewhere


def test_missing_replies(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    reply(tmp_path, "base", dict.fromkeys(IDS[:6], "No"))
    exported = export(recipe)
    with pytest.raises(ValueError) as caught:
        score(recipe, exported, allow_partial=False)
    said = str(caught.value)
    assert "eventhallusion, base: 2 of 8 questions have no reply (misleading_001/0, misleading_002/0)" in said
    assert (
        "eventhallusion, tuned: 8 of 8 questions have no reply (entire_001/0, entire_001/1, entire_002/0, ...)" in said
    )
    models = score(recipe, exported, allow_partial=True)["benchmarks"][FOLDER]["models"]
    assert {model: made["counts"]["missing"] for model, made in models.items()} == {"base": 2, "tuned": 8}
    assert models["base"]["figures"]["overall"]["of"] == 6


def test_replies_of_other_settings_or_questions(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    exported = export(recipe)
    made = {
        model: make_settings(recipe, model, "{question}\nPlease answer yes or no:", exported[FOLDER])
        for model in recipe.models
    }
    for model in recipe.models:
        reply(tmp_path, model, dict.fromkeys(IDS, "No"), made[model])
    entry = score(recipe, exported, allow_partial=False)["benchmarks"][FOLDER]
    assert entry["models"]["tuned"]["settings"]["adapter_name_or_path"] == "no/adapter"

    other = read_recipe(write_recipe(tmp_path, video_maxlen=4))
    with pytest.raises(ValueError, match=r"out/eventhallusion/base were made with .*video_maxlen: 8 there, 4 here"):
        score(other, export(other), allow_partial=True)

    path = tmp_path / "asked" / "entire_questions.json"
    path.write_text(path.read_text().replace("jump", "hop"))
    with pytest.raises(ValueError, match=r"questions: \w{12} there, \w{12} here"):
        score(recipe, export(recipe), allow_partial=True)


def test_a_judged_benchmark_needs_a_judge_and_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is asked."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folders = {"annotations": "a", "videos": "v"}
    changes = {"benchmarks": {"msvd_qa": folders, "eventhallusion": folders}}
    with pytest.raises(RecipeError, match=r"1 benchmark \(msvd_qa\) judged by a language model"):
        check_judge(read_recipe(write_recipe(tmp_path, **changes)))
    judged = read_recipe(write_recipe(tmp_path, **changes, judge={"model": "m"}))
    with pytest.raises(ValueError, match="needs a key in OPENAI_API_KEY"):
        check_judge(judged)
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    check_judge(judged)
    check_judge(read_recipe(write_recipe(tmp_path)))


def test_a_judge_is_asked_and_named(tmp_path: Path) -> None:
    """Two of three judged right, scores 4, 4 and 1; a second run asks nothing again."""
    asked = [{"question_id": f"q{n}", "video_name": f"v{n}", "question": f"what is {n}?"} for n in range(3)]
    answers = [{"question_id": f"q{n}", "answer": f"thing {n}"} for n in range(3)]
    folders = {"annotations": str(tmp_path / "qa"), "videos": str(tmp_path)}
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "test_q.json").write_text(json.dumps(asked))
    (tmp_path / "qa" / "test_a.json").write_text(json.dumps(answers))
    write_replies(tmp_path / "out" / "msvd_qa" / "base", {"q0": "good", "q1": "good", "q2": "bad"})

    def verdict(content: str, before: int) -> str:
        return "{'pred': 'yes', 'score': 4}" if "good" in content else "{'pred': 'no', 'score': 1}"

    with serve(verdict, whole) as endpoint:
        judge = {"model": "judge-1", "base_url": endpoint.url}
        changes = {"models": {"base": {}}, "benchmarks": {"msvd_qa": folders}, "judge": judge}
        recipe = read_recipe(write_recipe(tmp_path, **changes))
        entry = score(recipe, export(recipe), allow_partial=False)["benchmarks"]["msvd_qa"]
        assert score(recipe, export(recipe), allow_partial=False)["benchmarks"]["msvd_qa"] == entry
        assert len(endpoint.asked) == 3
    figures = entry["models"]["base"]["figures"]
    assert (figures["accuracy"]["total"], figures["accuracy"]["of"], figures["score"]["value"]) == (2, 3, 3.0)
    assert entry["judge"]["model"] == "judge-1" and len(entry["judge"]["prompt sha256"]) == 64


def test_a_judge_is_asked_what_a_rule_cannot_decide(tmp_path: Path) -> None:
    """One of three replies, and none where the recipe names no judge: then it is wrong."""
    asked = {"1": {"order": [{"question": f"Is it {n}?", "answer": "yes"} for n in range(3)]}}
    folders = {"annotations": str(tmp_path / "tc"), "videos": str(tmp_path)}
    (tmp_path / "tc").mkdir()
    (tmp_path / "tc" / "yes_no.json").write_text(json.dumps(asked))
    name = "tempcompass_yes_no"
    write_replies(tmp_path / "out" / name / "base", {"1/order/0": "Yes", "1/order/1": "no", "1/order/2": "It is."})
    changes = {"models": {"base": {}}, "benchmarks": {name: folders}}
    recipe = read_recipe(write_recipe(tmp_path, **changes))
    check_judge(recipe)
    entry = score(recipe, export(recipe), allow_partial=False)["benchmarks"][name]
    assert entry["judge"] is None and entry["models"]["base"]["figures"]["average"]["total"] == 1
    with serve(lambda content, before: "Correct", whole) as endpoint:
        judged = read_recipe(write_recipe(tmp_path, **changes, judge={"model": "j", "base_url": endpoint.url}))
        entry = score(judged, export(judged), allow_partial=False)["benchmarks"][name]
        assert len(endpoint.asked) == 1
    assert entry["models"]["base"]["figures"]["average"]["total"] == 2
    assert entry["judge"]["model"] == "j" and len(entry["judge"]["prompt sha256"]) == 64


def test_every_judged_benchmark_says_what_its_judge_is_told() -> None:
    told = Question("q", "v", "?", "yes", "s", {"judge_prompt": "Is it?"})
    judged = [name for name, benchmark in BENCHMARKS.items() if benchmark.needs_judge]
    assert len(judged) == 6
    assert len({_judge_prompt(name, [told]) for name in judged}) == 3  # the four QA sets are judged alike


def test_every_headline_is_a_figure_that_the_benchmark_gives() -> None:
    for name, benchmark in BENCHMARKS.items():
        figures = benchmark.score([], {}, judge=lambda requests: []).figures
        assert benchmark.headline in figures, name


def test_every_benchmark_goes_by_its_own_name() -> None:
    assert {name: benchmark.name for name, benchmark in BENCHMARKS.items()} == {name: name for name in BENCHMARKS}


def test_export_and_score_load_no_model_library() -> None:
    code = (
        "import sys, vistadpo_plugin.commands.evaluate; from vistadpo_plugin.evaluation import ask, report, run; "
        "print([name for name in ('torch', 'transformers', 'llamafactory') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
