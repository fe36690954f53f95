"""What a run of drafting says of itself: the table of checks, and the data card beside the drafts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from vistadpo_plugin.annotation.drafting.checks import CHECKS, FRAMES, GOOD_IOU, passed
from vistadpo_plugin.annotation.drafting.draft import Settings
from vistadpo_plugin.annotation.drafting.prompts import PromptPack
from vistadpo_plugin.annotation.drafting.talk import TRIES
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.card import accounting, bullets, size_category, table
from vistadpo_plugin.validation.kinds import KINDS, Finding

ABOUT = {
    "valid": "`vistadpo validate` has no warning about the row",
    "right_on_event": f"asked blind on at most {FRAMES} frames of the event, the model prefers `chosen` to `rejected`, "
    "in both orders of the two",
    "not_right_on_rest": f"it does not on at most {FRAMES} frames of the rest: one has to see the event",
    "box_iou": f"a second asking for the object's box overlaps `box` by an IoU of at least {GOOD_IOU:g}",
}


def check_table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, int, int, str]]:
    """(check, rows that have it, those that passed, their share), in the order of `CHECKS`."""
    lines = []
    for name in CHECKS:
        values = [row["checks"][name] for row in rows if name in row["checks"]]
        good = sum(passed(name, value) for value in values)
        lines.append((name, len(values), good, f"{good / len(values):.0%}" if values else "-"))
    return lines


def to_decide(rows: Sequence[dict[str, Any]]) -> int:
    """How many rows a person has to decide about."""
    return sum(bool(row["decide"]) for row in rows)


def format_checks(rows: Sequence[dict[str, Any]]) -> str:
    """The table of checks as aligned text."""
    lines = [("check", "rows", "passed", "share"), *check_table(rows)]
    text = [f"  {name:<20}{str(count):>6}{str(good):>8}{share:>7}" for name, count, good, share in lines]
    return "\n".join(
        [*text, f"  {to_decide(rows)} of {plural(len(rows), 'row')} have something that a person has to decide"]
    )


def format_card(
    name: str,
    file: str,
    rows: Sequence[dict[str, Any]],
    pack: PromptPack,
    settings: Settings,
    model: str,
    account: Account,
    found: Sequence[Finding],
    command: str,
) -> str:
    """The card's text; `found` is what `validate` finds of all rows together."""
    front = {
        "pretty_name": f"{name} (drafts of grounded preference rows)",
        "language": ["en"],
        "license": "other",
        "task_categories": ["video-text-to-text"],
        "tags": ["preference", "dpo", "vistadpo", "video"],
        "size_categories": [size_category(len(rows))],
        "source_datasets": ["original"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": file}]}],
    }
    kinds = Counter(row["kind"] for row in rows)
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {name}",
        f"Drafts of grounded preference rows for `stage: vistadpo`, written by `{model}`. Nobody has checked them.",
        "## Terms\n\n"
        + bullets(
            (
                "Videos: not part of this data set; each has the license that its author gave it.",
                "Texts, events and boxes are a model's: what its license says of its output holds for them.",
            )
        ),
        f"## How it was made\n\n```\n{command}\n```\n\n" + bullets(_rules(pack, settings)),
        "## Counts\n\n"
        + table(("", "count"), [("rows", len(rows)), ("videos", len({row["video"] for row in rows}))])
        + "\n\n"
        + table(("what `rejected` gets wrong", "rows"), sorted(kinds.items())),
        "## Checks\n\n"
        + table(("check", "rows", "passed", "share"), check_table(rows))
        + "\n\n"
        + bullets(f"`{check}`: {ABOUT[check]}." for check in CHECKS)
        + f"\n\nA person has to decide about {plural(to_decide(rows), 'row')} (`decide` says what).",
    ]
    if found:
        said = [f"{finding.kind}: {finding.message}. {KINDS[finding.kind].remedy}" for finding in found]
        parts.append("## What `vistadpo validate` says of all rows\n\n" + bullets(said))
    return "\n\n".join([*parts, accounting(account)]) + "\n"


def _rules(pack: PromptPack, settings: Settings) -> list[str]:
    out_of = ", out of its scenes" if settings.scenes else ""
    frames = (
        f"A video of at most {settings.longest:g} s was shown as at most {settings.frames} frames with their times; of "
        f"a longer one, a stretch of at most that length for each draft{out_of}."
    )
    return [
        f"Prompt pack {pack.version}, sha256 `{pack.sha256}`.",
        "The file of a video was sent whole." if settings.whole else frames,
        f"Pictures are JPEGs of at most {settings.side} pixels on the longer side; boxes were asked for in "
        f"{settings.boxes}.",
        "A reply that is no JSON, not of the schema, or outside of what was shown was asked for again, with the "
        f"reason, {TRIES} times in all; what could not be used then is counted below.",
    ]
