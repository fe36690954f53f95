"""TOMATO (Shangguan et al., ICLR 2025, arXiv 2410.23266): six kinds of motion, multiple choice with up to six options.

The rule is that of the benchmark's repository, yale-nlp/TOMATO (parse_result.py), restated: a reply is read only if it
is no more than its choice; any other is given to a language model, which names the letter. Where none is asked, such a
reply is wrong here; the repository draws a letter at random where its model finds none. The prompt is the one of
lmms-eval's task, which leaves out how many frames there are; the system message that the repository's proprietary
models get is not sent.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vistadpo_plugin.endpoint import Messages
from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_object, read_text
from vistadpo_plugin.evaluation.judge import judge_undecided
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

KINDS = ("count", "direction", "rotation", "shape&trend", "velocity&frequency", "visual_cues")
SCENARIOS = ("human", "object", "simulated")

PROMPT = (
    "You will be provided with frames uniformly sampled from a video, the frames are provided in chronological order "
    "of the video. Analyze these frames and provide the answer to the question about the video content. Answer the "
    "multiple-choice question about the video content.\n\nYou must use these frames to answer the multiple-choice "
    "question; do not rely on any externel knowledge or commonsense. \n\n<question> \n{question} "
    "\n</question>\n\n<options> \n{options} \n</options>\n\nEven if the information in these separate frames is not "
    "enough to answer the question, PLEASE TRY YOUR BEST TO GUESS AN ANSWER WHICH YOU THINK WOULD BE THE MOST POSSIBLE "
    "ONE BASED ON THE QUESTION. \n\nDO NOT GENERATE ANSWER SUCH AS 'NOT POSSIBLE TO DETERMINE.' \n"
)
JUDGE_PROMPT = (
    "A model was asked a multiple-choice question. Which of the options does its reply choose? Answer with the letter "
    "of the option alone, or with None if it chooses none of them."
)

_ANSWER_IS = re.compile(r"Answer is:?\(?([A-Fa-f])\)?")


def stated_choice(reply: str, options: list[str]) -> str | None:
    """The letter, where a reply is no more than its choice: a letter in any case, "Answer is:A" or "Answer is(A)", or
    "A: 3" where the option has no small letters; None for any other reply.

    The official pattern has no blank before the letter: "Answer is A" is another reply.
    """
    text = reply.strip()
    letters = [chr(ord("A") + index) for index in range(len(options))]
    if len(text) == 1 and text.upper() in letters:
        return text.upper()
    if text.upper() in (f"{letter}: {option}" for letter, option in zip(letters, options, strict=True)):
        return text[0].upper()
    found = _ANSWER_IS.fullmatch(text)
    return found[1].upper() if found and found[1].upper() in letters else None


def judged_letter(judged: str) -> str | None:
    """The letter alone, or None."""
    text = judged.strip().strip(".()").upper()
    return text if re.fullmatch("[A-F]", text) else "" if text == "NONE" else None


class Tomato:
    """The videos lie as released, SCENARIO/KEY.mp4. Question ids are KIND/ID with the file's own ids: `count/0`."""

    name = "tomato"
    prompt = PROMPT
    needs_judge = False
    falls_back = True
    judge_prompt = JUDGE_PROMPT
    headline = "overall"

    def files(self, annotations: Path) -> list[Path]:
        folder = annotations / "data" if (annotations / "data").is_dir() else annotations
        return find_files(self.name, folder, [f"{kind}.json" for kind in KINDS])

    def questions(self, annotations: Path) -> list[Question]:
        return [
            _question(kind, name, entry, f"{path}, {name}")
            for kind, path in zip(KINDS, self.files(annotations), strict=True)
            for name, entry in read_object(path).items()
        ]

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """Accuracy a kind, a scenario and `overall`; `decided by rule`: replies that are no more than a choice."""
        answered = [question for question in questions if question.id in replies]
        said = {q.id: stated_choice(replies[q.id], q.details["options"]) for q in answered}
        undecided = [question for question in answered if said[question.id] is None]
        requests = [_request(question, replies[question.id]) for question in undecided]
        judged, counts, note = judge_undecided(judge, requests, judged_letter)
        said |= {question.id: letter for question, letter in zip(undecided, judged, strict=True)}

        def figure(asked: list[Question]) -> Figure:
            return Figure(sum(said[question.id] == question.answer for question in asked), len(asked))

        figures = {kind: figure([q for q in answered if q.subset == kind]) for kind in KINDS}
        figures |= {name: figure([q for q in answered if q.details["scenario"] == name]) for name in SCENARIOS}
        figures |= {
            "overall": figure(answered),
            "decided by rule": Figure(len(answered) - len(undecided), len(answered)),
        }
        counts = {"missing": len(questions) - len(answered), "undecided": len(undecided), **counts}
        return Score(figures, counts, [note] if note else [])


def _question(kind: str, name: str, entry: Any, where: str) -> Question:
    options = entry.get("options") if isinstance(entry, dict) else None
    if not isinstance(options, list) or not options or not all(isinstance(option, str) for option in options):
        raise ValueError(f"{where}: field 'options' has to be a list of texts, found {options!r:.80}.")
    answer = entry.get("answer")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(options):
        raise ValueError(f"{where}: field 'answer' has to be the number of an option from 0, found {answer!r:.80}.")
    scenario = read_text(entry, "demonstration_type", where)
    if scenario not in SCENARIOS:
        raise ValueError(f"{where}: field 'demonstration_type' is none of {', '.join(SCENARIOS)}: {scenario!r:.80}.")
    letters = {chr(ord("A") + index): option for index, option in enumerate(options)}
    return Question(
        id=f"{kind}/{name}",
        video=f"{scenario}/{read_text(entry, 'key', where)}.mp4",
        prompt=PROMPT.format(question=read_text(entry, "question", where), options=letters),
        answer=chr(ord("A") + answer),
        subset=kind,
        details={"options": options, "scenario": scenario, "question": entry["question"]},
    )


def _request(question: Question, reply: str) -> Messages:
    listed = "\n".join(f"{chr(ord('A') + index)}. {text}" for index, text in enumerate(question.details["options"]))
    user = f"Question: {question.details['question']}\nOptions:\n{listed}\nReply: {reply.strip()}"
    return [{"role": "system", "content": JUDGE_PROMPT}, {"role": "user", "content": user}]


tomato = Tomato()
