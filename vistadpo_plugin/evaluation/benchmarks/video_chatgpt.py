"""Video-ChatGPT's benchmark of generated answers (Maaz et al., ACL 2024): five aspects, each a judge's 0 to 5.

After mbzuai-oryx/Video-ChatGPT, quantitative_evaluation: generic_qa.json serves three aspects, temporal_qa.json one;
consistency_qa.json asks each item in two ways, and both replies are judged together. Early versions of the official
consistency script showed the judge the first question twice; here it sees both, as in later ones.
"""

from __future__ import annotations

from pathlib import Path

from vistadpo_plugin.endpoint import Messages
from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_entries, read_text
from vistadpo_plugin.evaluation.benchmarks.video_chatgpt_prompts import ASPECTS
from vistadpo_plugin.evaluation.judge import JUDGES_DIFFER, JudgePrompt, ask, read_score, require
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

UNIT = "of 5"
FILES = {"generic": "generic_qa.json", "temporal": "temporal_qa.json", "consistency": "consistency_qa.json"}


class VideoChatGPT:
    """`Question.video` is the annotation's name, without an ending: the official scripts take the first of .mp4, .avi,
    .mov and .mkv that exists. The two questions of a consistency item are named consistency/N/1 and consistency/N/2."""

    name = "video_chatgpt"
    prompt = "{question}"
    needs_judge = True
    headline = "average of the aspects"
    judge_prompt = "\n\n".join(f"{aspect.name}:\n{aspect.judge_prompt.text}" for aspect in ASPECTS)

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, list(FILES.values()))

    def questions(self, annotations: Path) -> list[Question]:
        made = []
        for path, subset in zip(self.files(annotations), FILES, strict=True):
            # Asked in two ways, an item has two questions; otherwise the item's name is its question's.
            fields = {"Q1": "/1", "Q2": "/2"} if subset == "consistency" else {"Q": ""}
            for index, entry in enumerate(read_entries(path)):
                where = f"{path}, entry {index}"
                video, answer = read_text(entry, "video_name", where), read_text(entry, "A", where)
                for field, ending in fields.items():
                    text = read_text(entry, field, where)
                    made.append(Question(f"{subset}/{index}{ending}", video, text, answer, subset))
        return made

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        judge = require(judge, self.name)
        counts = {"missing": sum(question.id not in replies for question in questions)}
        figures = {}
        for aspect in ASPECTS:
            asked = [question for question in questions if question.subset == aspect.subset]
            two = aspect.subset == "consistency"
            requests = (_two if two else _one)(aspect.judge_prompt, asked, replies)
            scores, failed = ask(judge, requests, read_score)
            figures[aspect.name] = Figure(sum(scores), len(scores), UNIT)
            for what, count in failed.items():
                counts[what] = counts.get(what, 0) + count
            if two:
                counts["consistency_incomplete"] = len(asked) // 2 - len(requests)
        values = [figure.value for figure in figures.values() if figure.value is not None]
        complete = len(values) == len(ASPECTS)
        figures["average of the aspects"] = Figure(sum(values), len(values), UNIT) if complete else Figure(0, 0, UNIT)
        return Score(figures, counts, [JUDGES_DIFFER])


def _one(template: JudgePrompt, questions: list[Question], replies: dict[str, str]) -> list[Messages]:
    return [
        template.messages(question=question.prompt, answer=question.answer, prediction=replies[question.id].strip())
        for question in questions
        if question.id in replies
    ]


def _two(template: JudgePrompt, questions: list[Question], replies: dict[str, str]) -> list[Messages]:
    by_id = {question.id: question for question in questions}
    firsts = [question for question in questions if question.id.endswith("/1")]
    pairs = [(first, by_id[first.id.removesuffix("/1") + "/2"]) for first in firsts]
    return [
        template.messages(
            question1=first.prompt,
            question2=second.prompt,
            answer=first.answer,
            prediction1=replies[first.id].strip(),
            prediction2=replies[second.id].strip(),
        )
        for first, second in pairs
        if first.id in replies and second.id in replies
    ]


video_chatgpt = VideoChatGPT()
