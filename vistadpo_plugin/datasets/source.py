"""What a data card says of the annotations it was built from, and of their videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vistadpo_plugin.data.video.video import natural_order
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.videos import VideoIndex

OPTIONS = (
    "`chosen` is the right option, `rejected` a wrong option of the same question: drawn by seed among those that "
    "speak of something the video's questions speak of, else among all; never one with the same words as the right "
    "option.",
)
"""How the two answers come about where questions have options."""


@dataclass(frozen=True)
class Source:
    """Where the annotations come from, and under what terms. `answers` says how right and wrong answers are made."""

    title: str
    repository: str
    license: dict[str, str]
    terms: tuple[str, ...]
    rules: tuple[str, ...]
    answers: tuple[str, ...] = OPTIONS


@dataclass(frozen=True)
class Coverage:
    """The videos that usable questions are about: which of them are in the folder, and what the others would bring.

    `missing` gives for each video that is not there the number of its questions. `noun` is what the source calls them.
    """

    source: str
    noun: str
    named: int
    missing: dict[str, int]

    @classmethod
    def of(cls, source: Source, noun: str, questions: Sequence[Question], videos: VideoIndex) -> Coverage:
        asked = Counter(question.video for question in questions)
        missing = {video: asked[video] for video in natural_order(asked) if videos.find(video) is None}
        return cls(source.title, noun, len(asked), missing)

    def row(self) -> tuple[str, int, int, int, int]:
        """(source, videos named, there, missing, entries about missing ones)."""
        there = self.named - len(self.missing)
        return (self.source, self.named, there, len(self.missing), sum(self.missing.values()))

    def sentence(self) -> str:
        """The same in words."""
        source, named, there, missing, entries = self.row()
        text = f"{source}: {there} of {named} videos are in the folder"
        return f"{text}; {missing} are missing, and {entries} {self.noun}s with them" if missing else text
