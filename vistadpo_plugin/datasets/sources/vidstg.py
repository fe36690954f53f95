"""VidSTG: questions about VidOR's videos that ask for an object, with the time of the relation and the object's tube.

Layout as released (Guaranteer/VidSTG-Dataset, annotations/SPLIT_annotations.json): a list of {vid, fps, frame_count,
"subject/objects": [{tid, category}], used_relation: {subject_tid, object_tid, predicate, begin_fid, end_fid},
temporal_gt: {begin_fid, end_fid}, questions: [{description, type, target_id}], captions: the same}. Frames count from
0, and a relation ends before end_fid, as in VidOR. The boxes of the target are VidOR's (vidor.py).

The questions have no options: the answer is the target's category.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.source import Source
from vistadpo_plugin.datasets.sources.files import read_json
from vistadpo_plugin.datasets.sources.vidor import Annotated, Relation, categories, relation, sort_of, spoken
from vistadpo_plugin.datasets.text import plain, question, sentence, stems, words

FACTS = Source(
    title="VidSTG",
    repository="https://github.com/Guaranteer/VidSTG-Dataset",
    license={"license": "other", "license_name": "unverified"},
    terms=(
        "Annotations: VidSTG (Zhang et al., CVPR 2020) on VidOR's (Shang et al., ICMR 2019). A license of either could "
        "not be verified.",
        "Videos: not part of this data set. They are VidOR's, out of YFCC100M; each has the license that its author "
        "gave it.",
    ),
    answers=(
        "`chosen` is the category of the object asked for. `rejected` is another category of the same sort (person, "
        "animal, thing), drawn by seed: one that the video has, else one that it has not. Never a category that the "
        "question names, nor one that stands in the same relation to the same category anywhere in the video, as far "
        "as it is annotated. `rejected_irrelevant` is a category that the video has not.",
    ),
    rules=(
        "`event` is the time of the relation, [begin_fid / fps, end_fid / fps]. VidSTG asks within a segment of the "
        "video, these rows within the whole.",
        "`keyframe` and `box`, where VidOR's annotations were given: the target in the frame with its box that is "
        "nearest to the middle of the event; frame n is at n / fps seconds.",
        "Question type is the sort of the answer. VidSTG's declarative sentences are not used.",
    ),
)


def read_vidstg(path: Path, vidor: Callable[[str], Annotated | None] | None, account: Account) -> list[Question]:
    """The questions, in order of their ids; those that cannot be used are left out in `account`.

    `vidor` gives what VidOR says of a video, None for one it has no file of. Raises ValueError for a file that is not
    VidSTG's.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError(f"{path} is not VidSTG's: a list of annotations is expected.")
    usable = [item for place, item in enumerate(content) if _check(item, f"{path.name}[{place}]", account)]
    related, known = _relations(usable), {name for item in usable for name in categories(item).values()}
    made: dict[str, Question] = {}
    seen: set[tuple[Any, ...]] = set()
    for item, asked in _in_order(usable):
        account.read += 1
        begin, end = item["temporal_gt"]["begin_fid"], item["temporal_gt"]["end_fid"]
        base = f"vidstg/{item['vid']}/{begin}-{end}/{asked.get('target_id')}"
        where = next(name for n in range(len(made) + 1) if (name := f"{base}-{n}") not in made)
        said = (base, plain(str(asked.get("description"))))
        reason = _unusable(item, asked)
        if reason is None and said in seen:
            reason = "the same question about the same object and time a second time"
        annotated = vidor(item["vid"]) if vidor and reason is None else None
        wrong = None if reason else _wrong(item, asked, related[item["vid"]] | _all(annotated), known)
        if reason is None and not wrong:
            reason = "no category of its sort is wrong for certain"
        if reason:
            account.leave_out(reason, where)
            continue
        seen.add(said)
        made[where] = _question(item, asked, where, wrong, annotated, vidor is not None)
    return [made[name] for name in sorted(made)]


def _check(item: dict[str, Any], where: str, account: Account) -> bool:
    """Whether an annotation is of the released form; else its questions (one at least) are left out."""
    asked = item.get("questions")
    try:
        names = categories(item)
        relation(item["used_relation"], names)
        times = (item["temporal_gt"]["begin_fid"], item["temporal_gt"]["end_fid"], item["fps"])
        good = isinstance(item["vid"], str) and all(map(is_finite_number, times)) and isinstance(asked, list)
        good = good and item["fps"] > 0 and all(isinstance(one, dict) for one in asked)
        good = good and all(isinstance(name, str) and words(name) for name in names.values())
    except (KeyError, TypeError):
        good = False
    if good:
        return True
    for _ in asked if isinstance(asked, list) and asked else [None]:
        account.read += 1
        account.leave_out("an annotation without vid, fps, temporal_gt, used_relation, objects or questions", where)
    return False


def _in_order(items: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every question with its annotation, by video, time and text, so that the file's order is moot."""

    def place(pair: tuple[dict[str, Any], dict[str, Any]]) -> tuple[Any, ...]:
        item, asked = pair
        times = (item["temporal_gt"]["begin_fid"], item["temporal_gt"]["end_fid"])
        used = item["used_relation"]
        return item["vid"], times, str(asked), (used["subject_tid"], used["object_tid"], used["predicate"])

    yield from sorted(((item, asked) for item in items for asked in item["questions"]), key=place)


def _relations(items: list[dict[str, Any]]) -> dict[str, set[Relation]]:
    """Video -> the relations that its annotations were made from."""
    found: dict[str, set[Relation]] = defaultdict(set)
    for item in items:
        found[item["vid"]].add(relation(item["used_relation"], categories(item)))
    return found


def _all(annotated: Annotated | None) -> frozenset[Relation]:
    return annotated.relations if annotated else frozenset()


def _unusable(item: dict[str, Any], asked: dict[str, Any]) -> str | None:
    """Why the question cannot be used, or None."""
    if not isinstance(asked.get("description"), str) or not words(asked["description"]):
        return "no description"
    if asked.get("target_id") not in (item["used_relation"]["subject_tid"], item["used_relation"]["object_tid"]):
        return "a target_id that is neither side of the relation"
    begin, end = item["temporal_gt"]["begin_fid"], item["temporal_gt"]["end_fid"]
    return None if 0 <= begin < end else "a temporal_gt that starts before 0 or does not end after it starts"


def _wrong(
    item: dict[str, Any], asked: dict[str, Any], related: set[Relation] | frozenset[Relation], known: set[str]
) -> tuple[str, ...]:
    """The categories that can be wrong answers, those of the video's own objects where there are any."""
    names = categories(item)
    right = names[asked["target_id"]]
    subject, predicate, thing = relation(item["used_relation"], names)
    if asked["target_id"] == item["used_relation"]["subject_tid"]:
        true = {one for one, done, to in related if (done, to) == (predicate, thing)}
    else:
        true = {to for one, done, to in related if (one, done) == (subject, predicate)}
    said = stems(asked["description"])
    possible = {
        name
        for name in known
        if sort_of(name) == sort_of(right) and name != right and name not in true and not stems(spoken(name)) & said
    }
    return tuple(sorted(possible & set(names.values()) or possible))


def _question(
    item: dict[str, Any], asked: dict[str, Any], where: str, wrong: tuple[str, ...], annotated: Annotated | None,
    boxes_wanted: bool,
) -> Question:  # fmt: skip
    begin, end, fps = item["temporal_gt"]["begin_fid"], item["temporal_gt"]["end_fid"], item["fps"]
    right = categories(item)[asked["target_id"]]
    keyframe: float | None = None
    boxes: tuple[Box, ...] = ()
    notes: tuple[str, ...] = ()
    if annotated:
        frames = [n for n in range(begin, min(end, len(annotated.boxes))) if asked["target_id"] in annotated.boxes[n]]
        if frames:
            nearest = min(frames, key=lambda n: (abs(n - (begin + end) / 2), n))
            keyframe, boxes = round(nearest / fps, 3), (annotated.boxes[nearest][asked["target_id"]],)
        else:
            notes = ("no keyframe and box: VidOR has no box of the object in the event",)
    elif boxes_wanted:
        notes = ("no keyframe and box: VidOR's file of the video is not in the folder",)
    return Question(
        id=where,
        video=item["vid"],
        kind=sort_of(right),
        prompt=question(asked["description"]),
        right=sentence(f"the {spoken(right)}"),
        wrong=tuple(sentence(f"the {spoken(name)}") for name in wrong),
        shown=tuple(sorted({spoken(name) for name in categories(item).values()})),
        events=((round(begin / fps, 3), round(end / fps, 3)),),
        keyframe=keyframe,
        boxes=boxes,
        notes=notes,
    )
