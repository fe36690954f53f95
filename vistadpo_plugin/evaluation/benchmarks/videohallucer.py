"""VideoHallucer (Wang et al. 2024, arXiv 2406.16338): pairs of a basic and a hallucinated yes/no question.

The rules are those of the benchmark's repository, patrick-tssn/VideoHallucer, restated. A reply is right when the
annotated answer occurs in it as a word, anywhere and in any case. So "No, yes" is right whatever was asked,
"nothing" is not "no", and an empty reply is wrong. A pair is right when both of its replies are. A total is the
unweighted mean of the five subsets, although the temporal one has fewer pairs.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.benchmarks.annotations import find_files, read_entries, read_text
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure, Judge, Score

SUBSETS = ("object_relation", "temporal", "semantic_detail", "external_factual", "external_nonfactual")
ANSWERS = {"basic": "yes", "hallucination": "no"}

_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def words(reply: str) -> set[str]:
    """Which of "yes" and "no" a reply has as a word: none, one or both."""
    return {word.lower() for word in _WORD.findall(reply)}


def is_exact(question: Question, reply: str) -> bool:
    """Whether a reply is the true answer word for word, of a question of a benchmark with `truths`."""
    return reply.strip() == question.details["truth"]


@dataclass(frozen=True)
class VideoHallucer:
    """The five subsets, the temporal one read from `temporal`.json.

    The annotations lie side by side (temporal.json) or as released (temporal/temporal.json); the videos as released,
    SUBSET/videos/NAME. Question ids are FILE/INDEX/SIDE with the entry's index from 0: `temporal/12/basic`.
    Other subsets, prompts and places of videos make another benchmark of the same format and rule; where `partial`, a
    subset without a file is none; with `truths` an entry has its whole true answer too.
    """

    name: str
    temporal: str = "temporal"
    prompt: str = "{question}\nAnswer the question using 'yes' or 'no'."
    subsets: tuple[str, ...] = SUBSETS
    videos: str = "{subset}/videos/{name}"
    partial: bool = False
    truths: bool = False
    needs_judge: bool = False
    headline: str = "total/overall"

    def files(self, annotations: Path) -> list[Path]:
        return [*self._by_subset(annotations).values()]

    def _by_subset(self, annotations: Path) -> dict[str, Path]:
        names = {}
        for subset in self.subsets:
            name = f"{self.temporal if subset == 'temporal' else subset}.json"
            released = f"{subset}/{name}"
            names[subset] = released if (annotations / released).is_file() else name
        if self.partial:
            names = {subset: name for subset, name in names.items() if (annotations / name).is_file()} or names
        return dict(zip(names, find_files(self.name, annotations, [*names.values()]), strict=True))

    def questions(self, annotations: Path) -> list[Question]:
        asked = []
        for subset, path in self._by_subset(annotations).items():
            for index, entry in enumerate(read_entries(path)):
                asked += [self._question(subset, path, index, side, entry.get(side)) for side in ANSWERS]
        return asked

    def _question(self, subset: str, path: Path, index: int, side: str, given: Any) -> Question:
        where = f"{path}, entry {index}, {side}"
        if not isinstance(given, dict):
            raise ValueError(f"{where}: an object with video, question and answer is expected, found {given!r:.80}.")
        if read_text(given, "answer", where).lower() != ANSWERS[side]:
            raise ValueError(f"{where}: field 'answer' has to be {ANSWERS[side]!r}, found {given['answer']!r:.80}.")
        details = {"pair": f"{path.stem}/{index}", "side": side}
        if self.truths:
            details["truth"] = read_text(given, "truth", where)
        return Question(
            id=f"{path.stem}/{index}/{side}",
            video=self.videos.format(subset=subset, name=read_text(given, "video", where)),
            prompt=self.prompt.format(question=read_text(given, "question", where)),
            answer=ANSWERS[side],
            subset=subset,
            details=details,
        )

    def score(self, questions: list[Question], replies: dict[str, str], judge: Judge | None = None) -> Score:
        """Per subset and in total: `basic` and `hallucination` over the replies, `overall` over the pairs with both.

        A total has no value where a subset has none. With `truths`, `exact`: replies that are the true answer word for
        word, so that one that begins well and goes wrong is seen. Then the figures of the yes-bias (`bias`). `counts`:
        `unparsable` replies have neither word, `both_words` have both.
        """
        answered = [question for question in questions if question.id in replies]
        said = {question.id: words(replies[question.id]) for question in answered}
        right = {question.id: question.answer in said[question.id] for question in answered}
        pairs = _pairs(answered)
        figures = {}
        asked = {question.subset for question in questions} if self.partial and questions else set(self.subsets)
        subsets = [subset for subset in self.subsets if subset in asked]
        for subset in subsets:
            for side in ANSWERS:
                hits = [right[q.id] for q in answered if q.subset == subset and q.details["side"] == side]
                figures[f"{subset}/{side}"] = Figure(sum(hits), len(hits))
            hits = [right[basic.id] and right[other.id] for basic, other in pairs if basic.subset == subset]
            figures[f"{subset}/overall"] = Figure(sum(hits), len(hits))
        for kind in (*ANSWERS, "overall"):
            figures[f"total/{kind}"] = _mean([figures[f"{subset}/{kind}"] for subset in subsets])
        if self.truths:
            exact = [is_exact(question, replies[question.id]) for question in answered]
            figures["exact"] = Figure(sum(exact), len(exact))
        both = sum(len(found) == 2 for found in said.values())
        counts = {
            "missing": len(questions) - len(answered),
            "unparsable": sum(not found for found in said.values()),
            "both_words": both,
        }
        return Score(figures | bias(answered, said), counts, self._notes(questions, both))

    def _notes(self, questions: list[Question], both: int) -> list[str]:
        temporal = len({question.details["pair"] for question in questions if question.subset == "temporal"})
        notes = []
        if self.subsets == SUBSETS:
            notes.append(
                f"The temporal subset is {self.temporal}.json with {temporal} pairs. The benchmark has 176 now; it had "
                "200 when the published figures were made, 24 of them a second time."
            )
        if both:
            notes.append(f"{both} replies have both words, yes and no. The official rule counts them as right.")
        return notes


def bias(answered: list[Question], said: dict[str, set[str]]) -> dict[str, Figure]:
    """Yes-bias over all subsets together, in per cent (the benchmark prints fractions).

    `yes rate`: replies that have the word yes, of all. Then two figures in two definitions each.

    As the repository's bias script counts them, over the pairs with both replies: a wrong reply to a hallucinated
    question is a "yes", and a false positive, if the BASIC question's reply has the word yes. The percentage
    difference is ("yes" - pairs) / (2 x pairs), the false positive ratio false positives / wrong replies.

    As HallusionBench (Guan et al. 2024, Eq. 6 and 7), from which the benchmark takes both, defines them, by the reply
    itself: ("yes" replies - questions whose answer is yes) / questions, and "yes" replies among the wrong ones.

    A false positive ratio has no value where no reply is wrong; the script prints 0 there.
    """
    right = {question.id: question.answer in said[question.id] for question in answered}
    pairs = _pairs(answered)
    basic_right = sum(right[basic.id] for basic, _ in pairs)
    false_yes = sum(right[basic.id] and not right[other.id] for basic, other in pairs)
    wrong_in_pairs = sum(not right[basic.id] for basic, _ in pairs) + sum(not right[other.id] for _, other in pairs)
    yes = sum("yes" in found for found in said.values())
    expected = sum(question.answer == "yes" for question in answered)
    wrong = [said[question.id] for question in answered if not right[question.id]]
    return {
        "yes rate": Figure(yes, len(answered)),
        "yes percentage difference": Figure(basic_right + false_yes - len(pairs), 2 * len(pairs)),
        "false positive ratio": Figure(false_yes, wrong_in_pairs),
        "yes percentage difference (HallusionBench)": Figure(yes - expected, len(answered)),
        "false positive ratio (HallusionBench)": Figure(sum("yes" in found for found in wrong), len(wrong)),
    }


def _pairs(answered: list[Question]) -> list[tuple[Question, Question]]:
    """(basic, hallucination) of the pairs that have both."""
    sides = {(question.details["pair"], question.details["side"]): question for question in answered}
    complete = [pair for pair, count in Counter(pair for pair, _ in sides).items() if count == 2]
    return [(sides[pair, "basic"], sides[pair, "hallucination"]) for pair in complete]


def _mean(figures: list[Figure]) -> Figure:
    """The unweighted mean of fractions, as one over all that they count."""
    if not all(figure.of for figure in figures):
        return Figure(0, 0)
    of = sum(figure.of for figure in figures)
    return Figure(sum(figure.total / figure.of for figure in figures) / len(figures) * of, of)


videohallucer = VideoHallucer("videohallucer", temporal="temporal")
videohallucer_200 = VideoHallucer("videohallucer_200", temporal="temporal_200")
shapes = VideoHallucer(
    "shapes",
    prompt="{question}",
    subsets=("action", "order", "attribute", "presence"),
    videos="videos/{name}",
    partial=True,
    truths=True,
)
"""The demo's world (`demo.splits`)."""
