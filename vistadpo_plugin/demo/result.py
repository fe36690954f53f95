"""What training changed on held-out videos: figures with intervals, margins, and ten videos to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vistadpo_plugin.demo.shapes import LEFT, RIGHT, read_frames
from vistadpo_plugin.demo.splits import Split
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.benchmarks.videohallucer import is_exact, words
from vistadpo_plugin.evaluation.probe.table import BASE, TUNED, ProbedRow
from vistadpo_plugin.evaluation.question import Question

KINDS = {"basic": "what is there", "hallucination": "what is not", "overall": "both right", "exact": "whole answer"}
"""VideoHallucer's figures, and what each asks about. Its rule looks for yes or no alone; `exact` are replies that are
the true answer word for word, so that one that begins well and goes wrong is seen."""
LEVELS = {"video": "another video", "clip": "the other half", "object": "object masked"}
"""The probe's visual levels, and what the right view is held against."""
REPLICATES = 2000
EXAMPLES = 10
_BASIC_EVERY = 3


@dataclass(frozen=True)
class Interval:
    """A mean, and the bootstrap's 95 % around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Example:
    """A question about a held-out video, its true answer, and what base and tuned model reply; `frames` cut to
    the square that a model sees, (side, side, 3) uint8 each."""

    id: str
    frames: list[np.ndarray]
    question: str
    truth: str
    replies: dict[str, str]
    right: dict[str, bool]


@dataclass(frozen=True)
class Result:
    """Per cent by figure and model, margins in nats by level and model, over so many `videos`; and the examples."""

    videos: int
    questions: int
    figures: dict[str, dict[str, Interval]]
    margins: dict[str, dict[str, Interval]]
    examples: list[Example]


def interval(by_video: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """The mean of all values; videos are drawn with replacement, since what is asked about one video hangs together."""
    sums, counts = (np.array([fold(values) for values in by_video], dtype=float) for fold in (sum, len))
    drawn = np.random.default_rng(seed).integers(len(sums), size=(REPLICATES, len(sums)))
    means = sums[drawn].sum(axis=1) / np.maximum(counts[drawn].sum(axis=1), 1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def compare(split: Split, replies: dict[str, dict[str, str]], probed: Sequence[ProbedRow]) -> Result:
    """`replies` by model and question of the benchmark `shapes`; `probed`: the split's rows in file order."""
    questions = BENCHMARKS["shapes"].questions(split.annotations)
    videos = list(dict.fromkeys(question.video for question in questions))
    figures: dict[str, dict[str, Interval]] = {kind: {} for kind in KINDS}
    for model, given in replies.items():
        for kind, values in _right(questions, given).items():
            figures[kind][model] = interval([values[video] for video in videos])
    return Result(
        len(videos),
        len(questions),
        figures,
        _margins(split, probed),
        _examples(split, questions, videos, replies),
    )


def _is_right(question: Question, reply: str) -> bool:
    return question.answer in words(reply)


def _right(questions: Sequence[Question], replies: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """By figure and video, in per cent: VideoHallucer's rule, by which a pair is right when both replies are; and exact
    replies."""
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    sides: dict[str, list[bool]] = {}
    for question in questions:
        right = _is_right(question, replies[question.id])
        found[question.details["side"]].setdefault(question.video, []).append(100.0 * right)
        found["exact"].setdefault(question.video, []).append(100.0 * is_exact(question, replies[question.id]))
        sides.setdefault(question.details["pair"], []).append(right)
        if len(sides[question.details["pair"]]) == 2:
            both = all(sides[question.details["pair"]])
            found["overall"].setdefault(question.video, []).append(100.0 * both)
    return found


def _margins(split: Split, probed: Sequence[ProbedRow]) -> dict[str, dict[str, Interval]]:
    lines = split.rows.read_text(encoding="utf-8").splitlines()
    owners = [json.loads(line)["video"] for line in lines]
    found = {}
    for level in LEVELS:
        by_model = {}
        for model in (BASE, TUNED):
            by_video: dict[str, list[float]] = {}
            for owner, row in zip(owners, probed, strict=True):
                if level in row.margins[model]:
                    by_video.setdefault(owner, []).append(row.margins[model][level])
            by_model[model] = interval(list(by_video.values()))
        found[level] = by_model
    return found


def _examples(
    split: Split,
    questions: Sequence[Question],
    videos: Sequence[str],
    replies: dict[str, dict[str, str]],
) -> list[Example]:
    """The first videos, not chosen ones: the subsets in turn, and every third question about something that is true."""
    subsets = list(dict.fromkeys(question.subset for question in questions))
    found = []
    for index, video in enumerate(videos[:EXAMPLES]):
        side = "basic" if index % _BASIC_EVERY == _BASIC_EVERY - 1 else "hallucination"
        question = next(
            question
            for question in questions
            if (question.video, question.subset, question.details["side"])
            == (video, subsets[index % len(subsets)], side)
        )
        said = {model: given[question.id] for model, given in replies.items()}
        right = {model: _is_right(question, reply) for model, reply in said.items()}
        found.append(
            Example(
                Path(video).stem,
                [frame[:, LEFT:RIGHT] for frame in read_frames(split.videos / video)],
                question.prompt,
                question.details["truth"],
                said,
                right,
            )
        )
    return found


def format_table(result: Result) -> str:
    """Aligned plain text: the figures and margins, before and after."""
    head = f"{'on ' + str(result.videos) + ' held-out videos':<34}{'before':>22}{'after':>22}"
    lines = [head]
    for kind, by_model in result.figures.items():
        cells = "".join(f"{_show(by_model[model], '.0f'):>22}" for model in (BASE, TUNED))
        lines.append(f"{'% right, ' + KINDS[kind]:<34}{cells}")
    for level, by_model in result.margins.items():
        cells = "".join(f"{_show(by_model[model], '.2f'):>22}" for model in (BASE, TUNED))
        lines.append(f"{'nats, ' + level + ' over ' + LEVELS[level]:<34}{cells}")
    lines.append("Mean and 95 % interval (bootstrap over videos). The base says yes to what it expects to see.")
    return "\n".join(lines)


def _show(one: Interval, form: str) -> str:
    return f"{one.mean:{form}} [{one.low:{form}}, {one.high:{form}}]"
