"""Wrong answers for events that have no other event in their video: sentences about like events of other videos."""

from __future__ import annotations

from collections.abc import Sequence

from vistadpo_plugin.datasets.questions import Question, rng
from vistadpo_plugin.datasets.text import stems

# Sentences looked at for each question: enough for a like one, few enough for tens of thousands of questions.
_DRAWN = 300
# A sentence that shares more of its words is mostly the same event with a detail that the right one leaves open.
_LIKEST = 0.5


class LikeSentences:
    """The right answers of `questions`, each a sentence that tells an event, as wrong answers of one another."""

    def __init__(self, questions: Sequence[Question], seed: int):
        self._seed = seed
        self._shown: dict[str, set[str]] = {}
        said: dict[str, set[str]] = {}
        for question in questions:
            said.setdefault(question.right, set()).add(question.recording)
            self._shown.setdefault(question.recording, set()).update(stems(question.right))
        self._sentences = [(text, stems(text), recordings) for text, recordings in sorted(said.items())]

    def draw(self, question: Question) -> str | None:
        """The sentence most like the right answer among some hundred drawn ones, which is not true as far as is known.

        It is about other recordings only. It says something that no sentence about this recording says, and leaves out
        something that the right answer says; without that it may be true. Most like is which shares the largest part of
        the words of both, up to half of them. None when no sentence will do.
        """
        draw = rng(self._seed, "like", question.id)
        drawn = draw.sample(self._sentences, min(_DRAWN, len(self._sentences)))
        right, shown = stems(question.right), self._shown[question.recording]
        best, best_share = None, -1.0
        for text, words, recordings in drawn:
            if question.recording not in recordings and words - shown and right - words:
                share = len(right & words) / len(right | words)
                if best_share < share <= _LIKEST:
                    best, best_share = text, share
        return best
