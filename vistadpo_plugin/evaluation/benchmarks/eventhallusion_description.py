"""EventHallusion, the description task: a language model judges 397 descriptions against the annotated events.

The judge compares the description of an `entire` or `misleading` video with the event that happens, and looks in that
of a `mix` video for the unexpected one. The rule for its reply is the repository's: asterisks are dropped, then "yes"
at the beginning, in any case, is right and everything else wrong, no reply included. An empty description is wrong
without asking.

The repository's own prompts to the judge are read from its constants.py. Its files carry no licence, so they do not
ship with this package; without them the judge is asked the same in our words, and the report says so. Either way two
things differ from the repository: it also sends a system message (ChatGPT's), and it sets no temperature.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import read_text
from vistadpo_plugin.evaluation.benchmarks.eventhallusion import (
    SPLITS,
    first_word,
    question_files,
    read_videos,
    split_figures,
)
from vistadpo_plugin.evaluation.judge import require
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

_RULES = (
    "Judge events and actions only; objects, places and mood do not matter. "
    "The first word of your reply must be yes or no. Give your reasons after it.\n"
    "Description by the model: {}\n"
)
OUR_PROMPTS = {
    "entire": "You grade a model's description of a video against the event that really happens in the video. Say yes "
    f"if the event it describes agrees with the true event, else no. {_RULES}True event: {{}}",
    "interleave": "You grade a model's description of a video in which something unexpected happens. Say yes if the "
    f"description mentions the unexpected event, else no. {_RULES}Unexpected event: {{}}",
    "misleading": "You grade a model's description of a video against the event that really happens in the video. Say "
    "no if the description does not agree with the true event, or tells of anything else that has nothing to do with "
    f"it; otherwise say yes. {_RULES}True event: {{}}",
}
"""The judge's prompt by question file; the two gaps are the description and the event."""


def verdict(judged: str) -> bool | None:
    """Whether the judge found the description right; None where its reply begins with neither yes nor no."""
    return {"yes": True, "no": False, None: None}[first_word(judged.replace("*", ""))]


def read_prompts(constants: Path) -> dict[str, str]:
    """The judge's prompts by question file, from the repository's constants.py, which is parsed and not run.

    Raises ValueError for a file that does not assign a text with two gaps `{}` to each of the three names.
    """
    try:
        body = ast.parse(constants.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{constants} is not Python ({error}). Fetch it again, or remove it.") from None
    found: dict[str, Any] = {}
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                found[name] = value
    for file in SPLITS:
        if not isinstance(found.get(file), str) or found[file].count("{}") != 2:
            raise ValueError(
                f"{constants}: `{file}` should be the judge's prompt with two gaps {{}}, for description and event. "
                "Fetch the file again, or remove it to have the judge asked in our words."
            )
    return {file: found[file] for file in SPLITS}


@dataclass(frozen=True)
class EventHallusionDescription:
    """The description task. `annotations` may hold constants.py of the repository beside the questions (its root does).

    The videos lie as for the binary task. Question ids are ID/description: `interleave_001/description`.
    """

    name: str = "eventhallusion_description"
    prompt: str = "Please describe this video in detail."
    needs_judge: bool = True
    headline: str = "overall without misleading"

    def files(self, annotations: Path) -> list[Path]:
        constants = annotations / "constants.py"
        return question_files(self.name, annotations) + ([constants] if constants.is_file() else [])

    def questions(self, annotations: Path) -> list[Question]:
        constants = annotations / "constants.py"
        prompts = read_prompts(constants) if constants.is_file() else OUR_PROMPTS
        asked = []
        for where, file, video, entry in read_videos(question_files(self.name, annotations)):
            info = entry.get("event_info")
            if not isinstance(info, dict):
                raise ValueError(f"{where}: field 'event_info' has to be an object, found {info!r:.80}.")
            event = read_text(info, "unexpected" if file == "interleave" else "caption", f"{where}, event_info")
            asked.append(
                Question(
                    id=f"{video}/description",
                    video=f"{file}/{video}.mp4",
                    prompt=self.prompt,
                    answer=event,
                    subset=SPLITS[file],
                    details={"judge_prompt": prompts[file]},
                )
            )
        return asked

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """Right descriptions a split, `overall`, and `overall without misleading`, which is what papers print.

        `counts`: `empty` descriptions; of the judge's replies, `unparsable` begin with neither yes nor no, `unjudged`
        never came. All of these are wrong.
        """
        ask = require(judge, self.name)
        answered = [question for question in questions if question.id in replies]
        graded = [question for question in answered if replies[question.id].strip()]
        requests = [q.details["judge_prompt"].format(replies[q.id].strip(), q.answer) for q in graded]
        judged = ask([[{"role": "user", "content": request}] for request in requests]) if requests else []
        verdicts = {q.id: None if text is None else verdict(text) for q, text in zip(graded, judged, strict=True)}
        hits = [(question.subset, verdicts.get(question.id) is True) for question in answered]
        unjudged = sum(text is None for text in judged)
        counts = {
            "missing": len(questions) - len(answered),
            "empty": len(answered) - len(graded),
            "unparsable": sum(found is None for found in verdicts.values()) - unjudged,
            "unjudged": unjudged,
        }
        return Score(figures_of(hits), counts, _notes(questions))


def figures_of(hits: list[tuple[str, bool]]) -> dict[str, Figure]:
    """The task's figures from (split, whether right) of every description."""
    without = [right for split, right in hits if split != "misleading"]
    return split_figures(hits) | {"overall without misleading": Figure(sum(without), len(without))}


def _notes(questions: list[Question]) -> list[str]:
    notes = ["mix is the split that the benchmark's files call interleave."]
    if any(question.details["judge_prompt"] in OUR_PROMPTS.values() for question in questions):
        notes.append(
            "The judge was asked in our words, so the figures do not compare with published ones: put constants.py of "
            "the benchmark's repository into the annotation folder to ask in the benchmark's own."
        )
    return notes


eventhallusion_description = EventHallusionDescription()
