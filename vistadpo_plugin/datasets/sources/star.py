"""STAR: situated questions about Charades videos, with their segment, and boxes of objects in annotated frames.

Layout as in the repository csbobby/STAR_Benchmark (README, code/visualization_tools, code/program_executor): a list of
{question_id, question, video_id, start, end, answer, question_program, choices: [{choice_id, choice, choice_program}],
situations: {frame_id: {bbox: [[x1, y1, x2, y2] or null, ...], bbox_labels: [class, ...], ...}}}. Times are seconds of
the whole video, boxes pixels of its frames.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question, differing
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.files import read_json
from vistadpo_plugin.datasets.sources.star_objects import NoObject, answer_object, object_frames, pick_frame
from vistadpo_plugin.datasets.text import plain, question, sentence

FACTS = Source(
    title="STAR",
    repository="https://github.com/csbobby/STAR_Benchmark",
    license={"license": "other", "license_name": "unverified"},
    terms=(
        "Annotations: STAR (Wu et al., NeurIPS 2021). Its license could not be verified: ask its authors before you "
        "pass this data set on.",
        "Videos: not part of this data set. They are Charades', under the license that comes with them; frame numbers "
        "and boxes are Action Genome's.",
    ),
    rules=(
        "`event` is the question's segment, [start, end].",
        "`box` is the object the answer is about: the one object class that the right choice names; where it names "
        "none, the object acted on in the question. Several or none: no keyframe and no box, counted below.",
        "`keyframe` is the annotated frame with that box nearest to the middle of the segment. Frame n is taken to be "
        "shown at (n - 1) / rate seconds, rate being the video's own unless --fps was given.",
    ),
)

TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")
# A segment shows what these ask for; it ends before what Prediction and Feasibility ask for.
SHOWN_TYPES = ("Interaction", "Sequence")


def read_star(
    path: Path, types: Sequence[str], rate_of: Callable[[str], float | None], account: Account
) -> list[Question]:
    """The questions of the wanted types, in order of their ids; those that cannot be used are left out in `account`.

    `rate_of` gives the frame rate of a video by its id, None where it is not known: such a question has no keyframe.
    Raises ValueError for a file that is not STAR's.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError(f"{path} is not STAR's: a list of questions is expected.")

    questions: dict[str, Question] = {}
    for place, item in _in_order(content):
        account.read += 1
        name = item.get("question_id")
        where = f"star/{name}" if isinstance(name, str) and name.strip() else f"{path.name}[{place}]"
        kind = str(name).split("_")[0]
        reason = _unusable(item)
        if reason is None and kind not in types:
            known = f"question type {kind}, which --types does not name"
            reason = known if kind in TYPES else f"an unknown question type, {kind!r}"
        if reason is None and where in questions:
            reason = "the same question_id a second time"
        if reason:
            account.leave_out(reason, where)
            continue
        made = _question(item, where, rate_of)
        if differing(made):
            questions[where] = made
        else:
            account.leave_out("no choice says anything else than the right one", where)
    return [questions[name] for name in sorted(questions)]


def _in_order(items: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """By question_id; those that share one, which should not be, by their content, so that the file's order is moot.

    Each with its place in the file.
    """

    def name(of: tuple[int, dict[str, Any]]) -> str:
        return str(of[1].get("question_id"))

    for _, same in itertools.groupby(sorted(enumerate(items), key=name), key=name):
        members = list(same)
        yield from sorted(members, key=lambda of: json.dumps(of[1], sort_keys=True)) if len(members) > 1 else members


def _unusable(item: dict[str, Any]) -> str | None:
    """Why the question cannot be used, or None."""
    for name in ("question_id", "question", "video_id"):
        if not isinstance(item.get(name), str) or not item[name].strip():
            return f"no {name}"
    if not isinstance(item.get("answer"), str) or not item["answer"].strip():
        return "no answer (the test split keeps them back)"
    choices = item.get("choices")
    if not isinstance(choices, list) or not all(isinstance(_said(choice), str) for choice in choices):
        return "choices that are no list of {choice_id, choice}"
    if not any(plain(_said(choice)) == plain(item["answer"]) for choice in choices):
        return "the answer is none of the choices"
    start, end = item.get("start"), item.get("end")
    if not is_finite_number(start) or not is_finite_number(end) or not 0 <= start < end:
        return "start and end that are no segment in seconds"
    return None


def _said(choice: Any) -> Any:
    return choice.get("choice") if isinstance(choice, dict) else None


def _question(item: dict[str, Any], where: str, rate_of: Callable[[str], float | None]) -> Question:
    right = [choice for choice in item["choices"] if plain(choice["choice"]) == plain(item["answer"])]
    keyframe, boxes, notes = None, (), ()
    try:
        frames = object_frames(item.get("situations"), answer_object(item, right[0]))
        keyframe, boxes = pick_frame(frames, rate_of(item["video_id"]), item["start"], item["end"])
    except NoObject as reason:
        notes = (f"no keyframe and box: {reason}",)
    return Question(
        id=where,
        video=item["video_id"],
        kind="_".join(item["question_id"].split("_")[:2]),
        prompt=question(item["question"]),
        right=sentence(item["answer"]),
        wrong=tuple(sentence(choice["choice"]) for choice in item["choices"] if choice not in right),
        events=((item["start"], item["end"]),),
        keyframe=keyframe,
        boxes=boxes,
        notes=notes,
    )
