"""In which order two actions happen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_object, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

NOTHING = "None"

_ACTION = r"(action [ab]|[ab][.)])"
# What stands between is anything without a letter of the word, or of "action": the official patterns have them as sets
# of characters, and so find little. A reply that has the word but not the pattern is read by order of appearance.
_AROUND = {word: re.compile(rf"{_ACTION}[^{word}]+{word}[^action]*?{_ACTION}") for word in ("before", "then", "after")}


def order_of(reply: str) -> str:
    """The actions that a reply names in their order: "AB", "BA", "A", "B", another string, or "None".

    Letters alone count as they are. Of both actions by name ("action a") the order is that of appearance, unless the
    first of "before", "then" and "after" that the reply has says otherwise; one of them alone is the answer. An action
    written "a." or "a)" stands for its last character, so it spoils the order.
    """
    text = reply.lower()
    if text in ("a", "b", "ab", "ba"):
        return text.upper()
    if "not clear" in text or "no clear" in text:
        return NOTHING
    named = [letter for letter in "ab" if f"action {letter}" in text]
    if len(named) < 2:
        return named[0].upper() if named else NOTHING
    word = next((word for word in _AROUND if word in text), None)
    found = _AROUND[word].search(text) if word else None
    if found is not None:
        named = [name[-1] for name in found.groups()]
        return "".join(named[::-1] if word == "after" else named).upper()
    return "".join(match[0][-1] for match in re.finditer(_ACTION, text)).upper()


@dataclass(frozen=True)
class VidHallucOrder:
    """The videos lie side by side, NAME.mp4. Question ids are those of the file."""

    name: str = "vidhalluc_tsh"
    prompt: str = (
        "{question}Sort these two actions in the order they occur in the video, and return which action happen before "
        "which one. If you only detect one action, return that action."
    )
    needs_judge: bool = False
    headline: str = "accuracy"

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, ["tsh.json"])

    def questions(self, annotations: Path) -> list[Question]:
        (path,) = self.files(annotations)
        return [self._question(f"{path}, {name}", name, entry) for name, entry in read_object(path).items()]

    def _question(self, where: str, name: str, entry: Any) -> Question:
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: an object with video, Question and Correct Answer is expected.")
        return Question(
            id=name,
            video=f"{read_text(entry, 'video', where).removesuffix('.mp4')}.mp4",
            prompt=self.prompt.format(question=read_text(entry, "Question", where)),
            answer=read_text(entry, "Correct Answer", where),
            subset="questions",
        )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        answered = [question for question in questions if question.id in replies]
        said = {question.id: order_of(replies[question.id]) for question in answered}
        hits = sum(said[question.id] == question.answer for question in answered)
        counts = {
            "missing": len(questions) - len(answered),
            "unparsable": sum(order == NOTHING for order in said.values()),
        }
        return Score({"accuracy": Figure(hits, len(answered))}, counts)


vidhalluc_tsh = VidHallucOrder()
