"""The data card beside a built data set: YAML front matter and Markdown, from counts of the run and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.rows import Draft, Splits
from vistadpo_plugin.datasets.source import Coverage, Source

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def size_category(rows: int) -> str:
    """The hub's name for so many rows."""
    return next((name for limit, name in SIZES if rows < limit), "n>1M")


def format_card(
    name: str, source: Source, coverage: Coverage, splits: Splits, files: dict[str, str], account: Account,
    command: str, seed: int, model: str | None,
) -> str:  # fmt: skip
    """The card's text. `files` gives the file of each split, `model` who rewrote answers, if anyone."""
    named = splits.named()
    title = f"{name} (grounded preference rows from {source.title})"
    parts = [
        front_matter(title, source.license, named, files, machine_generated=model is not None),
        f"# {name}",
        f"Grounded preference rows for `stage: vistadpo`, built from [{source.title}]({source.repository}).",
        "## Terms\n\n" + bullets(source.terms),
        how_it_was_made(command, seed) + bullets((*source.answers, *RULES, *source.rules, _rewriting(model))),
        videos_there([coverage]),
        "## Counts\n\n" + _counts(named),
        accounting(account),
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(
    title: str, license: dict[str, str], named: Mapping[str, Sequence[Any]], files: dict[str, str],
    machine_generated: bool,
) -> str:  # fmt: skip
    """The YAML that the hub reads. `named` are the rows by split, `files` their files."""
    front = {
        "pretty_name": title,
        "language": ["en"],
        **license,
        "task_categories": ["video-text-to-text"],
        "tags": ["preference", "dpo", "vistadpo", "video"],
        "size_categories": [size_category(sum(map(len, named.values())))],
        "source_datasets": ["extended"],
        "annotations_creators": ["found"],
        "language_creators": ["found", "machine-generated"] if machine_generated else ["found"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": files[split]} for split in named],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


def how_it_was_made(command: str, seed: int) -> str:
    """The head of the section that tells the command; its rules follow."""
    return (
        f"## How it was made\n\n```\n{command}\n```\n\nSeed {seed}. The same command on the same files gives the same "
        "bytes.\n\n"
    )


def accounting(account: Account) -> str:
    """The section in which everything read is accounted for."""
    return "## Accounting\n\n" + table(("", "count"), account.table()) + _examples(account)


def videos_there(coverages: Sequence[Coverage]) -> str:
    """The section in which the videos that were asked for are counted by source."""
    header = ("source", "videos named", "in the folder", "missing", "entries about missing videos")
    return "## Videos\n\n" + table(header, [coverage.row() for coverage in coverages])


RULES = (
    "`rejected_irrelevant` is the right answer to a question about another video, drawn by seed: no answer of this "
    "question, without a content word in common with the question and its answers, and to a question of the same type. "
    "Words that more than half of all answers have do not count. Exceptions are counted below.",
    "Validation holds out whole videos, all cuts of one recording together. Irrelevant answers come from the row's "
    "own split, so no training row holds a held-out video or a text about one.",
)


def _rewriting(model: str | None) -> str:
    if model is None:
        return (
            "No language model took part. An option became an answer by a capital letter, a full stop and the "
            "apostrophe of a detached s."
        )
    return (
        f"Answers were rewritten by `{model}`. A row was rewritten when all its answers passed the rule: every content "
        "word of the option kept, no negation added or dropped, no content word of another option, bounded length. "
        "The others are options with a capital letter and a full stop, counted below."
    )


def _counts(named: dict[str, list[Draft]]) -> str:
    lines = []
    for split, drafts in named.items():
        videos = {draft.question.video for draft in drafts}
        have = [
            sum(len(draft.question.events) > 1 for draft in drafts),
            sum(draft.question.keyframe is not None for draft in drafts),
            sum(bool(draft.question.boxes) for draft in drafts),
            sum(draft.irrelevant is not None for draft in drafts),
        ]
        lines.append((split, len(drafts), len(videos), *have))
    header = ("split", "rows", "videos", "several events", "keyframe", "box", "irrelevant answer")
    kinds = Counter(draft.question.kind for drafts in named.values() for draft in drafts)
    return table(header, lines) + "\n\n" + table(("question type", "rows"), sorted(kinds.items()))


def _examples(account: Account) -> str:
    lines = account.examples()
    return "\n\n" + bullets(lines) if lines else ""


def bullets(lines: Any) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def table(header: tuple[str, ...], lines: Any) -> str:
    """A Markdown table, numbers to the right."""
    rule = "|".join(["---", *["---:"] * (len(header) - 1)])
    rows = [" | ".join(str(cell) for cell in line) for line in lines]
    return "\n".join([f"| {' | '.join(header)} |", f"|{rule}|", *(f"| {row} |" for row in rows)])
