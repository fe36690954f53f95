"""Rows of several files as one set: copies of a row go, and whatever else repeats or contradicts is named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from vistadpo_plugin.curation.entries import Entry, find_recordings
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.validation.texts import judge_repetitions

COPY = "a copy of another row, all fields the same"
REMARKS = {
    "repeated-id": "its id is that of an earlier row",
    "repeated-row": "video, question and answers are those of an earlier row, other fields are not",
    "contradiction": "an answer is chosen in one row and rejected in another, for the same video and question",
}
"""Kinds of `vistadpo validate` that a merge brings about; the same question with other answers is nothing to name."""


def merge_entries(entries: Sequence[Entry], keep_copies: bool, account: Account) -> list[Entry]:
    """All entries in order, without the later ones of equal rows unless `keep_copies`.

    Rows are equal when all their fields are, paths being equal when they lead to one place. Copies are left out in
    `account` and named with the row they are copies of; `REMARKS` are noted there, of the rows kept.
    """
    first: dict[str, str] = {}
    kept = []
    for entry in entries:
        fields = json.dumps(entry.located(), sort_keys=True)
        if fields in first and not keep_copies:
            account.leave_out(COPY, entry.where, f"as {first[fields]}")
        else:
            first.setdefault(fields, entry.where)
            kept.append(entry)
    # Not by `group`: two cuts of one recording may well have two answers to one question.
    videos = find_recordings(kept, by_group=False).names
    rows = [dataclasses.replace(entry.row, video=video) for entry, video in zip(kept, videos, strict=True)]
    for index, kind, message in judge_repetitions(rows):
        if kind in REMARKS:
            account.note(REMARKS[kind], kept[index].where, message)
    return kept
