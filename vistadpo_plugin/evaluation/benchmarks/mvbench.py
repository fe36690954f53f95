"""MVBench (Li et al., CVPR 2024): twenty tasks of multiple choice, after OpenGVLab/Ask-Anything, mvbench.ipynb.

The official run puts "Best option:(" in the model's mouth and so reads what follows the bracket; here the model answers
freely, as it does for the host. Its first line is read, as there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_entries, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

# Task as papers print it -> the folder of its videos; the file has the task's name. Tasks of CUT show a part of the
# video, from "start" to "end" in seconds; those of FRAMES_PER_SECOND have folders of frames for videos.
TASKS = {
    "Action Sequence": "star/Charades_v1_480",
    "Action Prediction": "star/Charades_v1_480",
    "Action Antonym": "ssv2_video",
    "Fine-grained Action": "Moments_in_Time_Raw/videos",
    "Unexpected Action": "FunQA_test/test",
    "Object Existence": "clevrer/video_validation",
    "Object Interaction": "star/Charades_v1_480",
    "Object Shuffle": "perception/videos",
    "Moving Direction": "clevrer/video_validation",
    "Action Localization": "sta/sta_video",
    "Scene Transition": "scene_qa/video",
    "Action Count": "perception/videos",
    "Moving Count": "clevrer/video_validation",
    "Moving Attribute": "clevrer/video_validation",
    "State Change": "perception/videos",
    "Fine-grained Pose": "nturgbd",
    "Character Order": "perception/videos",
    "Egocentric Navigation": "vlnqa",
    "Episodic Reasoning": "tvqa/frames_fps3_hq",
    "Counterfactual Inference": "clevrer/video_validation",
}
CUT = {"Action Sequence", "Action Prediction", "Object Interaction", "Action Localization", "Episodic Reasoning"}
FRAMES_PER_SECOND = {"Episodic Reasoning": 3}

# The published wording, to the letter.
PROMPT = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
    "objects, and the action and pose of persons. Based on your observations, select the best option that accurately "
    "addresses the question.\nQuestion: {question}\nOptions:\n{options}\nOnly give the best option."
)


def file_of(task: str) -> str:
    """The annotation file of a task."""
    return task.lower().replace("-", "_").replace(" ", "_") + ".json"


def official_hit(reply: str, answer: str) -> bool:
    """The official rule (check_ans): the first word of the reply, full stops off, is a part of the answer's "(a)", or
    holds it; case does not count. A reply without a first word, or with no more than a bracket, is a hit always."""
    said, option = _first_word(reply), answer.lower().split(" ")[0]
    return said.replace(".", "") in option or option in said


def strict_hit(reply: str, answer: str) -> bool:
    """The official rule, where the reply names an option at all; else wrong."""
    return names_option(reply) and official_hit(reply, answer)


def names_option(reply: str) -> bool:
    """Whether the first word has a letter or a digit in it."""
    return any(character.isalnum() for character in _first_word(reply))


def _first_word(reply: str) -> str:
    return reply.strip().split("\n")[0].lower().split(" ")[0]


class MVBench:
    """`Question.details` of a cut task: "start" and "end", seconds of the video; and "fps" where that is frames."""

    name = "mvbench"
    prompt = PROMPT
    needs_judge = False
    headline = "average"

    def files(self, annotations: Path) -> list[Path]:
        return find_files(self.name, annotations, [file_of(task) for task in TASKS])

    def questions(self, annotations: Path) -> list[Question]:
        made = []
        for path, task in zip(self.files(annotations), TASKS, strict=True):
            for index, entry in enumerate(read_entries(path)):
                made.append(_question(task, f"{path.stem}/{index}", entry, f"{path}, entry {index}"))
        return made

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        answered = [question for question in questions if question.id in replies]

        def figure(rule: Callable[[str, str], bool], task: str | None = None) -> Figure:
            asked = [question for question in answered if task in (None, question.subset)]
            return Figure(sum(rule(replies[question.id], question.answer) for question in asked), len(asked))

        figures = {task: figure(strict_hit, task) for task in TASKS}
        figures["average"] = figure(strict_hit)
        figures["average (official rule)"] = figure(official_hit)
        nothing = sum(not names_option(replies[question.id]) for question in answered)
        notes = ["The average is over questions. The official rule counts a reply that names no option as right."]
        counts = {"missing": len(questions) - len(answered), "unparsable": nothing}
        return Score(figures, counts, notes)


def _question(task: str, name: str, entry: dict[str, Any], where: str) -> Question:
    candidates, answer = entry.get("candidates"), entry.get("answer")
    if not isinstance(candidates, list) or not candidates:
        raise ValueError(f"{where}: field 'candidates' has to be a list of options, found {candidates!r}.")
    if answer not in candidates:
        raise ValueError(f"{where}: the answer {answer!r} is none of the candidates {candidates!r}.")
    options = [f"({chr(ord('A') + index)}) {candidate}" for index, candidate in enumerate(candidates)]
    # Of equal candidates the official run takes the last.
    right = max(index for index, candidate in enumerate(candidates) if candidate == answer)
    details: dict[str, float] = {}
    for field in ("start", "end") if task in CUT else ():
        if isinstance(entry.get(field), bool) or not isinstance(entry.get(field), (int, float)):
            raise ValueError(f"{where}: field {field!r} has to be seconds, found {entry.get(field)!r}.")
        details[field] = entry[field]
    if task in FRAMES_PER_SECOND:
        details["fps"] = FRAMES_PER_SECOND[task]
    return Question(
        id=name,
        video=f"{TASKS[task]}/{read_text(entry, 'video', where)}",
        prompt=PROMPT.format(question=read_text(entry, "question", where), options="\n".join(options).rstrip()),
        answer=options[right],
        subset=task,
        details=details,
    )


mvbench = MVBench()
