"""The threshold-free figure of yes/no benchmarks: how well log p(yes) - log p(no) tells true questions from false ones.

Accuracy depends on where a model puts its threshold: one that leans to "no" wins false questions and loses true ones
without seeing more. The rank does not: it is the probability that a question whose answer is yes has a larger margin
than one whose answer is no (the area under the ROC curve, AUC), ties counting half. 50 % is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.score import Figure

RANK = "rank"
NOTE = (
    "rank: the probability that a question whose answer is yes has a larger log p(yes) - log p(no), at the reply's "
    "first token, than one whose answer is no (AUC). It does not depend on how readily a model says yes."
)


def truth(question: Question) -> bool | None:
    """Whether the question's answer is yes; None where it is neither yes nor no."""
    if not isinstance(question.answer, str):
        return None
    return {"yes": True, "no": False}.get(question.answer.strip().rstrip(".").lower())


def asks_yes_or_no(questions: Sequence[Question]) -> bool:
    """Whether every question has yes or no for its answer, and both occur: else there is nothing to be ranked."""
    return {truth(question) for question in questions} == {True, False}


def first_tokens(tokenizer: Any) -> tuple[list[int], list[int]] | None:
    """Tokens with which a reply of yes, and one of no, begins: in every case, with a space before it or without.

    Tokens of both (a bare space), and the unknown one, are left out; None where one of the two is left with nothing.
    """
    found = []
    for word in ("yes", "no"):
        spellings = (f"{space}{form}" for space in ("", " ") for form in (word, word.capitalize(), word.upper()))
        ids = (tokenizer.encode(text, add_special_tokens=False)[:1] for text in spellings)
        found.append({token for first in ids for token in first} - {tokenizer.unk_token_id})
    yes, no = found[0] - found[1], found[1] - found[0]
    return (sorted(yes), sorted(no)) if yes and no else None


def auc(of_true: Sequence[float], of_false: Sequence[float]) -> float:
    """P(true > false) + P(true = false) / 2 over all pairs; both have at least one."""
    return float(wins(np.asarray(of_true), np.asarray(of_false)).mean())


def wins(of_true: np.ndarray, of_false: np.ndarray) -> np.ndarray:
    """(T, F) of every pair: 1 where the true question has the larger margin, 0.5 for a tie, else 0."""
    difference = of_true[:, None] - of_false[None, :]
    return (difference > 0) + 0.5 * (difference == 0)


def by_subset(questions: Sequence[Question]) -> dict[str, list[Question]]:
    """What is ranked, by the figure's name: all questions, and before them, where there are several subsets, each
    subset that asks for yes or no; nothing where not all questions do."""
    if not asks_yes_or_no(questions):
        return {}
    subsets: dict[str, list[Question]] = {}
    for question in questions:
        subsets.setdefault(question.subset, []).append(question)
    parts = {f"{name}/{RANK}": members for name, members in subsets.items() if asks_yes_or_no(members)}
    return {**(parts if len(subsets) > 1 else {}), RANK: [*questions]}


def rank_figures(questions: Sequence[Question], margins: Mapping[str, float]) -> dict[str, Figure]:
    """The ranks over the questions that have a margin; without those for which these are not of both kinds."""
    found = {}
    for name, members in by_subset(questions).items():
        known = [(margins[question.id], truth(question)) for question in members if question.id in margins]
        true, false = ([margin for margin, answer in known if answer is kind] for kind in (True, False))
        if true and false:
            found[name] = Figure(auc(true, false) * len(known), len(known))
    return found
