"""Inference: every question that has no reply yet goes to its model; replies are on disk as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.rank import asks_yes_or_no
from vistadpo_plugin.evaluation.recipe import Recipe
from vistadpo_plugin.evaluation.replies import REPLIES, append_replies, first_few, known_replies, mend
from vistadpo_plugin.evaluation.settings import check_same, make_settings, read_settings, write_settings
from vistadpo_plugin.evaluation.videos import find_video, images_rate, viewed
from vistadpo_plugin.evaluation.vllm_backend.support import VLLM, check_ready

if TYPE_CHECKING:
    from vistadpo_plugin.evaluation.inference import Responder
    from vistadpo_plugin.evaluation.vllm_backend.responder import VllmResponder


@dataclass(frozen=True)
class Task:
    """The questions of a benchmark that a model has still to answer, each with the video that it is about.

    `yes_or_no`: whether the benchmark asks nothing else; then margins are kept beside the replies.
    """

    model: str
    benchmark: str
    folder: Path
    settings: dict[str, Any]
    pending: list[tuple[Question, GroundedRow]]
    others: int
    yes_or_no: bool


def infer(recipe: Recipe, exported: dict[str, list[Question]], allow_partial: bool) -> None:
    """Ask every model what it has not answered yet; `exported`: the questions of each benchmark.

    `allow_partial` goes without videos that are missing or cannot be read, and says which. Raises ValueError for
    those otherwise, and for replies that are there but were made with other settings; all before a model is loaded.
    """
    tasks = _plan(recipe, exported, allow_partial)
    mine = {model: [task for task in tasks if task.model == model and task.pending] for model in recipe.models}
    for model, keys in recipe.models.items():
        if mine[model] and keys.get("infer_backend") == VLLM:
            with _naming(model):
                check_ready(keys)
    for model, keys in recipe.models.items():
        if not mine[model]:
            print(f"{model}: nothing is left to be asked.", flush=True)
            continue
        with _naming(model):
            responder = _open(keys, recipe.max_new_tokens)
        try:
            for task in mine[model]:
                _ask(responder, task, recipe.batch_size or responder.batch_size, allow_partial)
            if responder.one_at_a_time:
                print(f"{model}: asked one question at a time, not in batches: {responder.one_at_a_time}.", flush=True)
        finally:
            responder.close()


@contextmanager
def _naming(model: str) -> Iterator[None]:
    """Whose error it is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from error


def _open(keys: dict[str, Any], max_new_tokens: int) -> Responder | VllmResponder:
    """The model, loaded by its backend. Raises ValueError."""
    if keys.get("infer_backend") == VLLM:
        from vistadpo_plugin.evaluation.vllm_backend.responder import VllmResponder

        return VllmResponder(keys, max_new_tokens)
    from vistadpo_plugin.evaluation.inference import Responder

    return Responder(keys, max_new_tokens)


def _plan(recipe: Recipe, exported: dict[str, list[Question]], allow_partial: bool) -> list[Task]:
    tasks = []
    absent: dict[str, dict[str, None]] = {name: {} for name in exported}
    for name, questions in exported.items():
        videos = {video: find_video(recipe.benchmarks[name].videos, video) for video in _names(questions)}
        for model in recipe.models:
            folder = recipe.output_dir / name / model
            settings = make_settings(recipe, model, BENCHMARKS[name].prompt, questions)
            replies = _resume(folder, settings, questions)
            pending = [question for question in questions if question.id not in replies]
            absent[name].update(dict.fromkeys(video for video in _names(pending) if videos[video] is None))
            shown = [(question, viewed(question, video)) for question in pending if (video := videos[question.video])]
            others = len(questions) - len(shown)
            tasks.append(Task(model, name, folder, settings, shown, others, asks_yes_or_no(questions)))
    missing = [
        f"{name}: {first_few(list(names), 'video', 'videos')} missing below {recipe.benchmarks[name].videos}"
        for name, names in absent.items()
        if names
    ]
    if missing and not allow_partial:
        raise ValueError(f"{'; '.join(missing)}. Put them there, or go without them with --allow-partial.")
    for sentence in missing:
        print(f"{sentence}; their questions are left out.", flush=True)
    return tasks


def _names(questions: list[Question]) -> list[str]:
    return list(dict.fromkeys(question.video for question in questions))


def _resume(folder: Path, settings: dict[str, Any], questions: list[Question]) -> dict[str, str]:
    """The replies that are there, after a check that they are of the same kind as those to come."""
    path = folder / REPLIES
    if mend(path):
        print(f"{path}: the last line was torn by an interruption; its question is asked again.", flush=True)
    replies = known_replies(path, questions)
    if replies:
        known = read_settings(folder)
        if known is not None:
            check_same(known, settings, folder, versions=True)
        elif len(replies) < len(questions):
            raise ValueError(f"{path} holds replies, but nothing says how they were made. Move it away to ask again.")
    return replies


def _ask(responder: Responder | VllmResponder, task: Task, batch_size: int, allow_partial: bool) -> None:
    write_settings(task.folder, task.settings)
    unreadable = []
    title = f"{task.benchmark}, {task.model}"
    with tqdm(total=task.others + len(task.pending), initial=task.others, desc=title, unit="question") as bar:
        for start in range(0, len(task.pending), batch_size):
            batch = task.pending[start : start + batch_size]
            prepared = {}
            for question, row in batch:
                try:
                    prepared[question.id] = responder.prepare(question.prompt, row, images_rate(question))
                except RowError as error:
                    if not allow_partial:
                        raise ValueError(
                            f"{title}, {error} Replace the video, or go without it with --allow-partial."
                        ) from None
                    unreadable.append(question.video)
            if prepared:
                answers = dict(zip(prepared, responder.answer(list(prepared.values())), strict=True))
                append_replies(
                    task.folder / REPLIES,
                    ((id_, answer.text) for id_, answer in answers.items()),
                    {id_: answer.yes_margin for id_, answer in answers.items()} if task.yes_or_no else None,
                )
            bar.update(len(batch))
    if unreadable:
        videos = first_few(unreadable, "question is left out: its video", "questions are left out: their videos")
        print(f"{title}: {videos} cannot be read.", flush=True)
