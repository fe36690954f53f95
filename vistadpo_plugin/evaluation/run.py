"""The stages of an evaluation: questions out, replies in, report; each finds the last one's files in `output_dir`."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.question import Question, write_questions
from vistadpo_plugin.evaluation.rank import NOTE, rank_figures
from vistadpo_plugin.evaluation.recipe import Recipe, RecipeError
from vistadpo_plugin.evaluation.replies import REPLIES, first_few, known_margins, known_replies
from vistadpo_plugin.evaluation.report import model_entry
from vistadpo_plugin.evaluation.score import Score, takes_judge
from vistadpo_plugin.evaluation.settings import check_same, make_settings, read_settings
from vistadpo_plugin.run_record.provenance import file_sha256

QUESTIONS = "questions.jsonl"


def export(recipe: Recipe) -> dict[str, list[Question]]:
    """Write OUTPUT_DIR/BENCHMARK/questions.jsonl; returns the questions by benchmark.

    Raises ValueError for annotations that cannot be read, and for an id that two questions share.
    """
    exported = {}
    for name, folders in recipe.benchmarks.items():
        questions = BENCHMARKS[name].questions(folders.annotations)
        doubles = [id_ for id_, count in Counter(question.id for question in questions).items() if count > 1]
        if doubles:
            raise ValueError(f"{name}: {first_few(doubles, 'id', 'ids')} given to several questions.")
        write_questions(recipe.output_dir / name / QUESTIONS, questions)
        exported[name] = questions
    return exported


def check_judge(recipe: Recipe) -> None:
    """Raise RecipeError where a benchmark is judged and the recipe names no judge, ChatError where it has no key."""
    judged = [name for name in recipe.benchmarks if BENCHMARKS[name].needs_judge]
    if judged and recipe.judge is None:
        raise RecipeError(
            f"{first_few(judged, 'benchmark', 'benchmarks')} judged by a language model: "
            "name one with `judge: {model: ..., base_url: ...}`."
        )
    _open_judge(recipe)  # before hours of inference


def score(recipe: Recipe, exported: dict[str, list[Question]], allow_partial: bool) -> dict[str, Any]:
    """The report of what was replied, see `report`.

    Raises ValueError for questions without a reply unless `allow_partial`, and for replies that were made with other
    settings than the recipe's.
    """
    replies: dict[tuple[str, str], dict[str, str]] = {}
    settings: dict[tuple[str, str], dict[str, Any] | None] = {}
    missing = []
    for name, questions in exported.items():
        for model in recipe.models:
            folder = recipe.output_dir / name / model
            found = known_replies(folder / REPLIES, questions)
            known = read_settings(folder) if found else None
            if known is not None:
                check_same(known, make_settings(recipe, model, BENCHMARKS[name].prompt, questions), folder, False)
            unanswered = [question.id for question in questions if question.id not in found]
            if unanswered:
                words = (f"of {len(questions)} questions has no reply", f"of {len(questions)} questions have no reply")
                missing.append(f"{name}, {model}: {first_few(unanswered, *words)}")
            replies[name, model], settings[name, model] = found, known
    if missing and not allow_partial:
        raise ValueError(
            f"{'; '.join(missing)}. `vistadpo evaluate infer` asks them; --allow-partial goes without them, and says "
            "so beside every figure."
        )
    judge = _open_judge(recipe)
    benchmarks = {}
    for name, questions in exported.items():
        benchmark = BENCHMARKS[name]
        asks = judge if takes_judge(benchmark) else None
        benchmarks[name] = {
            "questions": len(questions),
            "annotations": _hashes(recipe.benchmarks[name].annotations, benchmark.files),
            "prompt": benchmark.prompt,
            "headline": benchmark.headline,
            "models": {
                model: model_entry(
                    _with_rank(
                        benchmark.score(questions, replies[name, model], asks),
                        questions,
                        known_margins(recipe.output_dir / name / model / REPLIES),
                    ),
                    settings[name, model],
                    len(questions) - len(replies[name, model]),
                )
                for model in recipe.models
            },
            "judge": None if asks is None else {**asks.describe(), "prompt sha256": _judge_prompt(name, questions)},
        }
    return {"benchmarks": benchmarks, "general": list(recipe.general)}


def _with_rank(score: Score, questions: list[Question], margins: dict[str, float]) -> Score:
    """The score with the threshold-free ranks behind its figures, where the benchmark asks for yes or no and replies
    have margins."""
    found = rank_figures(questions, margins)
    return Score({**score.figures, **found}, score.counts, [*score.notes, NOTE]) if found else score


def _hashes(annotations: Path, files: Any) -> dict[str, str]:
    """SHA-256 of the annotation files, by their place below `annotations`."""
    return {path.relative_to(annotations).as_posix(): file_sha256(path) for path in files(annotations)}


def _judge_prompt(name: str, questions: list[Question]) -> str:
    """SHA-256 of what the judge is told: the benchmark's `judge_prompt`, or those among its questions' details."""
    told = getattr(BENCHMARKS[name], "judge_prompt", None)
    texts = [told] if told else dict.fromkeys(question.details["judge_prompt"] for question in questions)
    return hashlib.sha256("\n\n".join(texts).encode()).hexdigest()


def _open_judge(recipe: Recipe) -> Any:
    if recipe.judge is None or not any(takes_judge(BENCHMARKS[name]) for name in recipe.benchmarks):
        return None
    from vistadpo_plugin.evaluation.judge import Judge

    return Judge(**recipe.judge, cache=recipe.output_dir / "judge.jsonl")
