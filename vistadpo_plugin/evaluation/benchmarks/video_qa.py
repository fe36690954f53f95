"""Open questions about videos, judged by a language model: MSVD-QA, MSRVTT-QA, TGIF-QA, ActivityNet-QA.

The judge's prompt and the reading of its replies are those of mbzuai-oryx/Video-ChatGPT (evaluate_activitynet_qa.py);
the files test_q.json and test_a.json are laid out as PKU-YuanGroup/Video-LLaVA distributes them, which gave the numbers
papers compare with. The two files belong together by question id: official scripts that joined them by position have
given wrong figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_entries, read_text
from vistadpo_plugin.evaluation.judge import JUDGES_DIFFER, JudgePrompt, ask, read_verdict, require
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

# The published wording, to the letter: its missing spaces and its example of 4.8 are what published judges were told.
JUDGE_PROMPT = JudgePrompt(
    system=(
        "You are an intelligent chatbot designed for evaluating the correctness of generative outputs for "
        "question-answer pairs. Your task is to compare the predicted answer with the correct answer and determine if "
        "they match meaningfully. Here's how you can accomplish the task:------##INSTRUCTIONS: "
        "- Focus on the meaningful match between the predicted answer and the correct answer.\n"
        "- Consider synonyms or paraphrases as valid matches.\n"
        "- Evaluate the correctness of the prediction compared to the answer."
    ),
    user=(
        "Please evaluate the following video-based question-answer pair:\n\n"
        "Question: {question}\nCorrect Answer: {answer}\nPredicted Answer: {prediction}\n\n"
        "Provide your evaluation only as a yes/no and score where the score is an integer value between 0 and 5, with "
        "5 indicating the highest meaningful match. Please generate the response in the form of a Python dictionary "
        "string with keys 'pred' and 'score', where value of 'pred' is  a string of 'yes' or 'no' and value of 'score' "
        "is in INTEGER, not STRING.DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python "
        "dictionary string. For example, your response should look like this: {'pred': 'yes', 'score': 4.8}."
    ),
)

# ActivityNet-QA's types by number, and the figures of its eval.py over them.
ACTIVITYNET_TYPES = {
    "Motion": (0,),
    "Spatial Relation": (1,),
    "Temporal Relation": (2,),
    "Free": (3, 4, 5, 6, 7, 8),
    "All": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "Yes/No": (3,),
    "Color": (4,),
    "Object": (5,),
    "Location": (6,),
    "Number": (7,),
    "Other": (8,),
}


@dataclass(frozen=True)
class VideoQA:
    """`Question.video` is `video_prefix` and the annotation's name, without an ending: the official scripts take the
    first of .mp4, .avi, .mov and .mkv that exists. `typed`: answers carry ActivityNet-QA's type, and replies are also
    matched exactly, as MILVLG/activitynet-qa's eval.py does."""

    name: str
    video_prefix: str = ""
    typed: bool = False
    prompt: str = "{question}"
    needs_judge: bool = True
    headline: str = "accuracy"
    judge_prompt: str = JUDGE_PROMPT.text

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, ["test_q.json", "test_a.json"])

    def questions(self, annotations: Path) -> list[Question]:
        """Raises ValueError also for an id that is given twice, and for one that only one of the files has."""
        asked_path, answers_path = self.files(annotations)
        asked, answers = _by_id(asked_path), _by_id(answers_path)
        for path, have, want in ((answers_path, answers, asked), (asked_path, asked, answers)):
            lacking = [name for name in want if name not in have]
            if lacking:
                raise ValueError(
                    f"{path} lacks {len(lacking)} of the {len(want)} question ids of the other file, the first is "
                    f"{lacking[0]!r}. Take both files from one release."
                )
        made = []
        for name, entry in asked.items():
            answer = answers[name]
            where, answer_where = f"{asked_path}, question {name!r}", f"{answers_path}, question {name!r}"
            kind = _type_of(answer, answer_where) if self.typed else None
            made.append(
                Question(
                    id=name,
                    video=self.video_prefix + read_text(entry, "video_name", where),
                    prompt=read_text(entry, "question", where),
                    answer=read_text(answer, "answer", answer_where),
                    subset="All" if kind is None else _type_name(kind),
                    details={} if kind is None else {"type": kind},
                )
            )
        return made

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        judge = require(judge, self.name)
        answered = [question for question in questions if question.id in replies]
        requests = [
            JUDGE_PROMPT.messages(
                question=question.prompt, answer=question.answer, prediction=replies[question.id].strip()
            )
            for question in answered
        ]
        verdicts, counts = ask(judge, requests, read_verdict)
        figures = {
            "accuracy": Figure(sum(verdict.yes for verdict in verdicts), len(verdicts)),
            "score": Figure(sum(verdict.score for verdict in verdicts), len(verdicts), unit="of 5"),
        }
        notes = [JUDGES_DIFFER]
        if self.typed:
            figures |= exact_match(answered, replies)
            notes.append(
                "Exact match is equality of texts, made for classifiers: a model that answers in sentences has next to "
                "none. The official script divides Free by the wrong count (4,021 instead of 5,600 on the test set)."
            )
        return Score(figures, {"missing": len(questions) - len(answered), **counts}, notes)


def exact_match(answered: list[Question], replies: dict[str, str]) -> dict[str, Figure]:
    """ActivityNet-QA's figures: a reply, blanks around it off, equals the answer. Case counts."""
    figures = {}
    for label, kinds in ACTIVITYNET_TYPES.items():
        asked = [question for question in answered if question.details["type"] in kinds]
        hits = sum(replies[question.id].strip() == question.answer for question in asked)
        figures[f"exact match: {label}"] = Figure(hits, len(asked))
    return figures


def _by_id(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(read_entries(path)):
        where = f"{path}, entry {index}"
        given = entry.get("question_id")
        name = str(given) if type(given) is int else read_text(entry, "question_id", where)
        if name in found:
            raise ValueError(f"{where}: question id {name!r} is there already. Keep one of its entries.")
        found[name] = entry
    return found


def _type_of(answer: dict[str, Any], where: str) -> int:
    kind = answer.get("type")
    if isinstance(kind, bool) or kind not in ACTIVITYNET_TYPES["All"]:
        raise ValueError(f"{where}: field 'type' has to be a number from 0 to 8, found {kind!r}.")
    return kind


def _type_name(kind: int) -> str:
    return next(label for label, kinds in ACTIVITYNET_TYPES.items() if kinds == (kind,))


msvd_qa = VideoQA("msvd_qa")
msrvtt_qa = VideoQA("msrvtt_qa")
tgif_qa = VideoQA("tgif_qa")
activitynet_qa = VideoQA("activitynet_qa", video_prefix="v_", typed=True)
