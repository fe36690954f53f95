"""EventHallusion (Zhang et al. 2024, arXiv 2409.16597), the binary task: 409 yes/no questions about 397 videos.

The rules are those of the benchmark's repository, Stevetich/EventHallusion, restated. A reply is what it begins with,
in any case: yes, no or neither. So "Not really" is a no, "Now ..." too, and "The answer is no" is neither, which is
wrong. The repository's inference strips replies of the space around them, and so does the scorer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_entries, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

SPLITS = {"entire": "entire", "interleave": "mix", "misleading": "misleading"}
"""The benchmark's files -> its splits as papers print them."""


def first_word(text: str) -> str | None:
    """ "yes" or "no" if the text begins with these letters, in any case, else None."""
    return next((word for word in ("yes", "no") if text.lower().startswith(word)), None)


def question_files(benchmark: str, annotations: Path) -> list[Path]:
    """The three question files: in `questions/` as in the benchmark's repository, or in the folder itself."""
    folder = annotations / "questions" if (annotations / "questions").is_dir() else annotations
    return find_files(benchmark, folder, [f"{file}_questions.json" for file in SPLITS])


def read_videos(files: list[Path]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(place for messages, key of `SPLITS`, video id, entry) of every video of the `question_files`, in their order.

    Raises ValueError for an entry without an id and for an id that came before.
    """
    seen: set[str] = set()
    for file, path in zip(SPLITS, files, strict=True):
        for index, entry in enumerate(read_entries(path)):
            where = f"{path}, entry {index}"
            video = read_text(entry, "id", where)
            if video in seen:
                raise ValueError(f"{where}: id {video!r} is there already. Keep one of its entries.")
            seen.add(video)
            yield f"{where} ({video})", file, video, entry


@dataclass(frozen=True)
class EventHallusion:
    """The binary task. The videos lie as released, FILE/ID.mp4 (interleave/interleave_001.mp4).

    Question ids are ID/INDEX with the question's index within its video from 0: `interleave_001/0`.
    """

    name: str = "eventhallusion"
    prompt: str = "{question}\nPlease answer yes or no:"
    needs_judge: bool = False
    headline: str = "overall"

    def files(self, annotations: Path) -> list[Path]:
        return question_files(self.name, annotations)

    def questions(self, annotations: Path) -> list[Question]:
        asked = []
        for where, file, video, entry in read_videos(self.files(annotations)):
            given = entry.get("questions")
            if not isinstance(given, list) or not given:
                raise ValueError(f"{where}: field 'questions' has to be a list of questions, found {given!r:.80}.")
            for index, one in enumerate(given):
                asked.append(self._question(file, video, index, one, f"{where}, question {index}"))
        return asked

    def _question(self, file: str, video: str, index: int, given: Any, where: str) -> Question:
        if not isinstance(given, dict):
            raise ValueError(f"{where}: an object with question and answer is expected, found {given!r:.80}.")
        answer = read_text(given, "answer", where)
        if answer not in ("Yes.", "No."):
            raise ValueError(f"{where}: field 'answer' has to be 'Yes.' or 'No.', found {answer!r:.80}.")
        return Question(
            id=f"{video}/{index}",
            video=f"{file}/{video}.mp4",
            prompt=self.prompt.format(question=read_text(given, "question", where)),
            answer=answer,
            subset=SPLITS[file],
        )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """Accuracy a split and `overall`, over all questions alike; `yes rate`: replies that begin with yes, of all."""
        answered = [question for question in questions if question.id in replies]
        said = {question.id: first_word(replies[question.id].strip()) for question in answered}
        figures = split_figures([(q.subset, said[q.id] == first_word(q.answer)) for q in answered])
        figures["yes rate"] = Figure(sum(word == "yes" for word in said.values()), len(answered))
        counts = {
            "missing": len(questions) - len(answered),
            "unparsable": sum(word is None for word in said.values()),
        }
        return Score(figures, counts, ["mix is the split that the benchmark's files call interleave."])


def split_figures(hits: list[tuple[str, bool]]) -> dict[str, Figure]:
    """Accuracy a split and `overall` from (split, whether right) of every question."""
    figures = {}
    for split in SPLITS.values():
        of_split = [right for subset, right in hits if subset == split]
        figures[split] = Figure(sum(of_split), len(of_split))
    figures["overall"] = Figure(sum(right for _, right in hits), len(hits))
    return figures


eventhallusion = EventHallusion()
