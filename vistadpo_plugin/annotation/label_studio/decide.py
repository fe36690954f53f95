"""From reviews to rows: what is accepted, whose edits count, and an account of all that is not."""

from __future__ import annotations

import json

from vistadpo_plugin.annotation.label_studio import page
from vistadpo_plugin.annotation.label_studio.edits import DROPPED, apply_review
from vistadpo_plugin.annotation.label_studio.reviews import Review, Reviewed, ReviewError
from vistadpo_plugin.data.rows.schema import RowError, parse_row
from vistadpo_plugin.datasets.accounting import Account

NOT_REVIEWED = "nobody judged it"
DISAGREE = "annotators disagree, no verdict has more than half of them"
UNUSABLE = "accepted, but no row can be made of it"
DIFFERENT_EDITS = "accepted by several with different edits: those saved last are taken"
REVIEWED_BY = "reviewed_by"
"""The field with the names of those who accepted a row, where they are asked for."""

_LEFT_OUT = {page.REJECT: "rejected", page.UNSURE: "unsure"}


def verdict_of(reviews: list[Review]) -> str | None:
    """The verdict of more than half of the annotators; None where there is none."""
    verdicts = [review.verdict for review in reviews]
    return next((verdict for verdict in sorted(set(verdicts)) if 2 * verdicts.count(verdict) > len(verdicts)), None)


def accepted_rows(reviewed: list[Reviewed], keep_annotators: bool, account: Account) -> list[str]:
    """The accepted rows as JSON texts, edits applied, in the order given; the others are left out and counted."""
    rows = []
    for each in reviewed:
        where, verdict = each.task.where, verdict_of(each.reviews)
        if verdict != page.ACCEPT:
            reason = _LEFT_OUT[verdict] if verdict is not None else DISAGREE if each.reviews else NOT_REVIEWED
            account.leave_out(reason, where)
            continue
        accepting = [review for review in each.reviews if review.verdict == page.ACCEPT]
        try:
            text, changed = apply_review(each.task, accepting[-1])
            if changed:
                parse_row(text, where)
        except (ReviewError, RowError) as error:
            account.leave_out(UNUSABLE, where, error.message if isinstance(error, RowError) else str(error))
            continue
        for what in changed:
            account.note(what if what in DROPPED else f"`{what}` edited", where)
        if len({_outcome(each, review) for review in accepting}) > 1:
            account.note(DIFFERENT_EDITS, where)
        if keep_annotators:
            names = sorted(review.annotator for review in accepting)
            text = json.dumps({**json.loads(text), REVIEWED_BY: names}, ensure_ascii=False)
        rows.append(text)
    return rows


def _outcome(each: Reviewed, review: Review) -> str:
    try:
        return apply_review(each.task, review)[0]
    except ReviewError as error:
        return str(error)
