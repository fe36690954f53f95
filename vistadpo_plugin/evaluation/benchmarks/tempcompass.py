"""TempCompass (Liu et al., ACL Findings 2024, arXiv 2403.00476): multiple choice, yes or no, and caption matching.

The rules are those of the benchmark's repository, llyx97/TempCompass, restated: each task reads a reply by a rule of
its own, and what the rule cannot decide is asked of a language model, or wrong where none is asked. The fourth task,
caption generation, is judged throughout and not here.

The repository's own prompts to the judge are read from its prompt_templates.py, if that lies with the questions. Its
license (CC BY-NC 4.0) does not let them ship with this package; without them the judge is asked the same in our words,
and the report says so. Either way the temperature is 0, the repository's is 1.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_object, read_text
from vistadpo_plugin.evaluation.judge import judge_undecided
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

ASPECTS = ("action", "direction", "speed", "order", "attribute_change")

JUDGE_SYSTEM = "You are an AI assistant for question answering."
OUR_JUDGE_PROMPT = (
    "Compare a model's reply to a question about a video with the right answer. Say Correct if the reply gives the "
    "right answer, Incorrect if it gives another one or none. Say nothing else."
)


def multiple_choice(reply: str, answer: str, prompt: str) -> bool | None:
    """A reply is the whole answer, or a letter from A to D alone, or one followed by "." or ")"; else None."""
    if reply == answer:
        return True
    if reply[:1] in tuple("ABCD") and (len(reply) == 1 or reply[1] in ".)"):
        return reply[0] == answer[0]
    return None


def yes_or_no(reply: str, answer: str, prompt: str) -> bool | None:
    """A reply is what it begins with, in any case: "yes" or "no"; else None."""
    said = next((word for word in ("yes", "no") if reply.lower().startswith(word)), None)
    return None if said is None else said == answer


def caption_matching(reply: str, answer: str, prompt: str) -> bool | None:
    """A reply is an option as it is written ("Option 1: A man runs."), its sentence, or its label ("Option 1", "1").

    A sentence may stand between the first and second ") " of the reply, and full stops do not count in a label. Of
    several that a reply fits, the last label counts, else the last sentence.
    """
    options = options_of(prompt)
    said = [option for option in options if option == reply]
    sentences = [sentence_of(option) for option in options]
    said += [one for one in sentences if one == reply or (") " in reply and one == reply.split(") ")[1])]
    labels = [label_of(option) for option in options]
    for label in labels + [_short(label) for label in labels]:
        said += [label] if label in (reply, reply.replace(".", "")) else []
    if not said:
        return None
    right = label_of(answer)
    return said[-1] in (answer, answer.split(":")[0], sentence_of(answer), right.split()[1])


def options_of(question: str) -> list[str]:
    """The options of a caption matching question: its lines after the first, up to the place for an answer."""
    return question.removesuffix(OPTION).split("\n")[1:]


def label_of(option: str) -> str:
    return option.split(": ")[0]


def sentence_of(option: str) -> str:
    return option.split(": ")[1]


def _short(label: str) -> str:
    for word in ("Sentence ", "Option ", "Caption "):
        label = label.replace(word, "")
    return label


OPTION = "\nPlease directly give the best option:"
YES_OR_NO = "\nPlease answer yes or no:"


@dataclass(frozen=True)
class TempCompass:
    """One task. `annotations` has its file, there or in `questions/` as in the benchmark's repository (whose root has
    prompt_templates.py); the videos lie as released, ID.mp4.

    Question ids are VIDEO/ASPECT/INDEX with the question's index from 0: `1034419625/speed/0`.
    """

    name: str
    file: str
    prompt: str
    rule: Callable[[str, str, str], bool | None]
    title: str
    template: str
    needs_judge: bool = False
    falls_back: bool = True
    headline: str = "average"

    def files(self, annotations: Path) -> list[Path]:
        folder = annotations / "questions" if (annotations / "questions").is_dir() else annotations
        templates = annotations / "prompt_templates.py"
        return find_files(self.name, folder, [self.file]) + ([templates] if templates.is_file() else [])

    def questions(self, annotations: Path) -> list[Question]:
        path, *templates = self.files(annotations)
        told = read_template(templates[0], self.template) if templates else OUR_JUDGE_PROMPT
        asked = []
        for video, aspects in read_object(path).items():
            if not isinstance(aspects, dict) or not set(aspects) <= set(ASPECTS):
                raise ValueError(f"{path}, video {video}: questions by aspect ({', '.join(ASPECTS)}) are expected.")
            for aspect, entries in aspects.items():
                for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
                    asked.append(
                        self._question(video, aspect, index, entry, told, f"{path}, {video}, {aspect} {index}")
                    )
        return asked

    def _question(self, video: str, aspect: str, index: int, entry: Any, told: str, where: str) -> Question:
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: an object with question and answer is expected, found {entry!r:.80}.")
        text, answer = read_text(entry, "question", where), read_text(entry, "answer", where)
        if self.rule is yes_or_no and answer not in ("yes", "no"):
            raise ValueError(f"{where}: field 'answer' has to be 'yes' or 'no', found {answer!r:.80}.")
        if self.rule is caption_matching and (
            answer not in options_of(text) or not all(": " in option for option in options_of(text))
        ):
            raise ValueError(f"{where}: the answer {answer!r:.80} is none of the options of its question.")
        return Question(
            id=f"{video}/{aspect}/{index}",
            video=f"{video.removesuffix('.mp4')}.mp4",
            prompt=self.prompt.format(question=text),
            answer=answer,
            subset=aspect,
            details={"judge_prompt": told},
        )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """Accuracy an aspect and `average`, over all questions alike; `decided by rule`: replies that the rule reads.

        `counts`: `undecided` replies, and of the judge's those that did not come or cannot be read; all of these are
        wrong.
        """
        answered = [question for question in questions if question.id in replies]
        said = {question.id: replies[question.id].replace("</s>", "").strip() for question in answered}
        found = {q.id: self.rule(said[q.id], q.answer, q.prompt) for q in answered}
        undecided = [question for question in answered if found[question.id] is None]
        requests = [self._request(question, said[question.id]) for question in undecided]
        judged, counts, note = judge_undecided(judge, requests, read_rating)
        found |= {question.id: rating for question, rating in zip(undecided, judged, strict=True)}

        def figure(asked: list[Question]) -> Figure:
            return Figure(sum(found[question.id] is True for question in asked), len(asked))

        figures = {aspect: figure([q for q in answered if q.subset == aspect]) for aspect in ASPECTS}
        figures |= {
            "average": figure(answered),
            "decided by rule": Figure(len(answered) - len(undecided), len(answered)),
        }
        notes = [note] if note else []
        if judge is not None and any(question.details["judge_prompt"] == OUR_JUDGE_PROMPT for question in undecided):
            notes.append(
                "The judge was asked in our words: put prompt_templates.py of the benchmark's repository beside its "
                "questions to ask in the benchmark's own."
            )
        return Score(figures, {"missing": len(questions) - len(answered), "undecided": len(undecided), **counts}, notes)

    def _request(self, question: Question, reply: str) -> list[dict[str, str]]:
        told = question.details["judge_prompt"]
        asked = question.prompt.removesuffix(self.prompt.removeprefix("{question}"))
        user = f"{told}\n{self.title}:\n{asked}\nGround-Truth Answer: {question.answer}\nModel Prediction: {reply}"
        return [{"role": "system", "content": JUDGE_SYSTEM}, {"role": "user", "content": user}]


def read_rating(judged: str) -> bool | None:
    """Whether the judge found the reply right: the word it begins with, else Incorrect if it has that, else Correct.

    None where it has neither word.
    """
    if judged.startswith(("Correct", "Incorrect")):
        return judged.startswith("Correct")
    if "Incorrect" in judged:
        return False
    return True if "Correct" in judged else None


def read_template(path: Path, name: str) -> str:
    """A text that prompt_templates.py assigns to `name`; the file is parsed and not run. Raises ValueError."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is not Python ({error}). Fetch it again, or remove it.") from None
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=given)], value=ast.Constant(value=str(text))) if given == name:
                return text
    raise ValueError(f"{path} assigns no text to `{name}`. Fetch it again, or remove it to ask the judge in our words.")


tempcompass_multi_choice = TempCompass(
    "tempcompass_multi_choice",
    "multi-choice.json",
    "{question}" + OPTION,
    multiple_choice,
    "Multi-Choice Question",
    "multi_choice_evaluation_prompt",
)
tempcompass_yes_no = TempCompass(
    "tempcompass_yes_no",
    "yes_no.json",
    "{question}" + YES_OR_NO,
    yes_or_no,
    "Yes/No Question",
    "yes_no_evaluation_prompt",
)
tempcompass_caption_matching = TempCompass(
    "tempcompass_caption_matching",
    "caption_matching.json",
    "{question}" + OPTION,
    caption_matching,
    "Caption Matching Question",
    "caption_matching_evaluation_prompt",
)
