"""A multiple-choice question with its grounding, and which answers a row gets from it. All draws are seeded.

Every draw is a function of the seed, the question's id and the set of questions: not of file order, dict order, or
Python's hash seed.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.text import content_words, plain


@dataclass(frozen=True)
class Question:
    """One question as its annotators gave it; texts are made into sentences already.

    `events` and `keyframe` are seconds, `boxes` pixels of the original frame. `kind` is the question's type: questions
    of one kind have answers of one form. `wrong` is empty where a like sentence about another video is to be drawn
    (likeness.py). `shown` are things that the video is known to show besides: no irrelevant answer names them. `group`
    names the recording that the video is a cut of, where there are several of one. `notes` are things to count when the
    question becomes a row.
    """

    id: str
    video: str
    kind: str
    prompt: str
    right: str
    wrong: tuple[str, ...]
    events: tuple[tuple[float, float], ...]
    keyframe: float | None = None
    boxes: tuple[Box, ...] = ()
    shown: tuple[str, ...] = ()
    group: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def recording(self) -> str:
        """What the video is of: two videos of one recording are not about different things."""
        return self.group or self.video

    @property
    def options(self) -> tuple[str, ...]:
        return (self.right, *self.wrong)


def differing(question: Question) -> list[str]:
    """The wrong options that say something else than the right one: other words, not only other case or order."""
    right = content_words(question.right)
    return sorted({option for option in question.wrong if content_words(option) != right and plain(option)})


def video_words(questions: Sequence[Question]) -> dict[str, frozenset[str]]:
    """What each video is known to show: the content words of its questions and of their right options."""
    found: dict[str, set[str]] = defaultdict(set)
    for question in questions:
        found[question.video] |= content_words(question.prompt) | content_words(question.right)
    return {video: frozenset(said) for video, said in found.items()}


def right_answers(questions: Sequence[Question]) -> dict[tuple[str, str], frozenset[str]]:
    """(video, question) -> every text that is right: some questions are asked twice, with other options."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for question in questions:
        found[question.video, plain(question.prompt)].add(plain(question.right))
    return {asked: frozenset(right) for asked, right in found.items()}


def draw_rejected(question: Question, shown: frozenset[str], right: frozenset[str], seed: int) -> str | None:
    """A wrong option, drawn among those that speak of something the video is known to show, else among all.

    `right` are the texts that are right where the question is asked again. None when no option is left.
    """
    options = [option for option in differing(question) if plain(option) not in right]
    relevant = [option for option in options if content_words(option) & shown]
    return rng(seed, "rejected", question.id).choice(relevant or options) if options else None


@dataclass(frozen=True)
class Irrelevant:
    """An answer about another recording, the right option of `source`; `close`: it shares words with the row."""

    source: Question
    close: bool


class _Answers:
    """Right options by their text, in a drawn order; each with the questions it answers."""

    def __init__(self, questions: Sequence[Question]):
        self.questions = questions
        self.by_text: dict[str, list[Question]] = defaultdict(list)
        for question in questions:
            self.by_text[plain(question.right)].append(question)
        self.texts = list(self.by_text)
        self.places = {text: place for place, text in enumerate(self.texts)}
        self.words = {text: content_words(text) for text in self.texts}

    def draw(self, start: float, recording: str, taken: set[str], near: frozenset[str]) -> Question | None:
        """The first question about another recording, from the share `start` of the questions on, whose answer is not
        `taken` and has no word in `near`. Answers given often are drawn often, as they are right often.
        """
        if not self.questions:
            return None
        first = self.places[plain(self.questions[int(start * len(self.questions))].right)]
        for text in self.texts[first:] + self.texts[:first]:
            if text not in taken and not self.words[text] & near:
                others = [question for question in self.by_text[text] if question.recording != recording]
                if others:
                    return others[int(start * len(others))]
        return None


class IrrelevantPool:
    """Right options of many questions, to be drawn as the irrelevant answers of questions about other videos."""

    def __init__(self, questions: Sequence[Question], seed: int):
        self.seed = seed
        members = sorted(questions, key=lambda question: question.id)
        rng(seed, "pool", "").shuffle(members)
        # A word that half of the answers have ("person" in Charades) tells nothing about any of them.
        said = Counter(word for question in members for word in content_words(question.right))
        self.common = frozenset(word for word, times in said.items() if times * 2 > len(members) > 2)
        self.all = _Answers(members)
        self.kinds = {
            kind: _Answers([question for question in members if question.kind == kind])
            for kind in {question.kind for question in members}
        }

    def draw(self, question: Question) -> Irrelevant | None:
        """The right option of a question about another recording, which is no option of this question nor `shown`.

        It has no content word in common with the question, its options and what is shown, so that it cannot be true by
        accident, and its question is of the same kind; if there is none, of another kind; if every answer has a word in
        common, the same two choices among those. Words that more than half of all answers have do not count. None when
        no other recording has an answer at all.
        """
        texts = (*question.options, *question.shown)
        taken = {plain(text) for text in texts}
        near = frozenset().union(content_words(question.prompt), *map(content_words, texts)) - self.common
        start = rng(self.seed, "irrelevant", question.id).random()
        for avoided in (near, frozenset()):
            for answers in (self.kinds[question.kind], self.all):
                source = answers.draw(start, question.recording, taken, avoided)
                if source is not None:
                    return Irrelevant(source, close=not avoided)
        return None


def split_videos(videos: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """The videos (or recordings) held out for validation: `share` of them, rounded, at least one and never all.

    Raises ValueError when a share is wanted and there are fewer than two videos.
    """
    if share == 0:
        return frozenset()
    names = sorted(set(videos))
    if len(names) < 2:
        raise ValueError(
            f"--val-share holds out whole videos, and the rows are about {len(names)} video: two are needed."
        )
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    return frozenset(rng(seed, "validation", "").sample(names, count))


def rng(seed: int, purpose: str, name: str) -> random.Random:
    """The source of one draw: the same for the same seed, purpose and name, in every process."""
    # A text seed goes through SHA-512, so it is the same in every process.
    return random.Random(f"{seed}/{purpose}/{name}")
