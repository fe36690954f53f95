"""What is done: yes/no questions and multiple choice, both about several clips of one recording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_object, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score


def yes_no_word(reply: str) -> str:
    """What stands before the first full stop and the first comma, in capitals."""
    return reply.strip().split(".")[0].split(",")[0].strip().upper()


def chosen_letters(reply: str, choices: dict[str, str]) -> set[str]:
    """The letters A to D that stand alone in a reply; else that of the first choice whose text is in it, in any case.

    So "AB" names no letter, and the article of "A man runs" does.
    """
    letters = set(re.findall(r"\b[A-D]\b", reply))
    if letters:
        return letters
    return set(next((key.upper() for key, text in choices.items() if text.lower() in reply.lower()), ""))


@dataclass(frozen=True)
class VidHallucYesNo:
    """A question is right when the replies about all its clips are. The videos lie side by side, CLIP.mp4.

    Question ids are GROUP/INDEX/CLIP, the index that of the question in its group from 0.
    """

    name: str = "vidhalluc_bqa"
    prompt: str = "{question} Only answer with a single word 'Yes' or 'No'."
    needs_judge: bool = False
    headline: str = "accuracy"

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, ["ach_binaryqa.json"])

    def questions(self, annotations: Path) -> list[Question]:
        (path,) = self.files(annotations)
        return [
            question
            for where, group, index, entry in _entries(path)
            for question in self._ask(where, group, index, entry)
        ]

    def _ask(self, where: str, group: str, index: int, entry: dict[str, Any]) -> Iterator[Question]:
        text, answers = read_text(entry, "q", where), entry.get("a")
        if not isinstance(answers, dict) or not answers:
            raise ValueError(f"{where}: field 'a' has to be an object of clips and answers, found {answers!r:.80}.")
        for clip in answers:
            answer = read_text(answers, clip, where).strip()
            if answer.lower() not in ("yes", "no"):
                raise ValueError(f"{where}: the answer about {clip} has to be Yes or No, found {answer!r:.80}.")
            yield Question(
                id=f"{group}/{index}/{clip}",
                video=f"{clip}.mp4",
                prompt=self.prompt.format(question=text),
                answer=answer,
                subset="questions",
                details={"question": f"{group}/{index}", "clips": len(answers)},
            )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """`accuracy` over the questions with a reply about every clip, `clips` over the replies, `yes rate`."""
        answered = [question for question in questions if question.id in replies]
        said = {question.id: yes_no_word(replies[question.id]) for question in answered}
        right = {question.id: said[question.id] == question.answer.upper() for question in answered}
        clips: dict[str, list[bool]] = {}
        for question in answered:
            clips.setdefault(question.details["question"], []).append(right[question.id])
        wanted = {question.details["question"]: question.details["clips"] for question in answered}
        whole = [hits for name, hits in clips.items() if len(hits) == wanted[name]]
        figures = {
            "accuracy": Figure(sum(map(all, whole)), len(whole)),
            "clips": Figure(sum(right.values()), len(answered)),
            "yes rate": Figure(sum(word == "YES" for word in said.values()), len(answered)),
        }
        counts = {
            "missing": len(questions) - len(answered),
            "incomplete": len(clips) - len(whole),
            "unparsable": sum(word not in ("YES", "NO") for word in said.values()),
        }
        return Score(figures, counts, ["accuracy: all clips of a question are right, as the benchmark counts."])


def _entries(path: Path) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """(place, group, index, entry) of every question."""
    for group, entries in read_object(path).items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}, {group}: a list of questions is expected, found {entries!r:.80}.")
        for index, entry in enumerate(entries):
            yield f"{path}, {group}, question {index}", group, index, entry


@dataclass(frozen=True)
class VidHallucChoice:
    """One or several options are right. The videos lie side by side, CLIP.mp4. Question ids are GROUP/CLIP."""

    name: str = "vidhalluc_mcq"
    prompt: str = (
        "{question} Please select the correct answer (one or more options), only return your answer(s). (e.g., ABCD)\n"
        "Choices:\n{choices}"
    )
    needs_judge: bool = False
    headline: str = "accuracy"

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, ["ach_mcq.json"])

    def questions(self, annotations: Path) -> list[Question]:
        (path,) = self.files(annotations)
        asked = []
        for group, clips in read_object(path).items():
            if not isinstance(clips, dict):
                raise ValueError(f"{path}, {group}: an object of clips is expected, found {clips!r:.80}.")
            asked += [self._question(f"{path}, {group}, {clip}", group, clip, entry) for clip, entry in clips.items()]
        return asked

    def _question(self, where: str, group: str, clip: str, entry: Any) -> Question:
        if not isinstance(entry, dict) or not isinstance(entry.get("Choices"), dict) or not entry["Choices"]:
            raise ValueError(f"{where}: an object with Question, Choices and Correct Answer is expected.")
        choices = {key: read_text(entry["Choices"], key, where) for key in entry["Choices"]}
        answer = read_text(entry, "Correct Answer", where).strip().upper()
        if not re.search("[A-D]", answer):
            raise ValueError(f"{where}: field 'Correct Answer' has to name letters from A to D, found {answer!r:.80}.")
        listed = "".join(f"{key}. {text}\n" for key, text in choices.items())
        return Question(
            id=f"{group}/{clip}",
            video=f"{clip}.mp4",
            prompt=self.prompt.format(question=read_text(entry, "Question", where), choices=listed),
            answer=answer,
            subset="questions",
            details={"choices": choices},
        )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        answered = [question for question in questions if question.id in replies]
        said = {q.id: chosen_letters(replies[q.id], q.details["choices"]) for q in answered}
        hits = sum(said[question.id] == set(re.findall("[A-D]", question.answer)) for question in answered)
        counts = {
            "missing": len(questions) - len(answered),
            "unparsable": sum(not letters for letters in said.values()),
        }
        notes = [
            "By the official rule letters that stand together (AB) are none, and a capital A that is an article is one."
        ]
        return Score({"accuracy": Figure(hits, len(answered))}, counts, notes)


vidhalluc_bqa = VidHallucYesNo()
vidhalluc_mcq = VidHallucChoice()
