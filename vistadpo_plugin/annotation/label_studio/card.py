"""The data card of reviewed rows: what was decided, how far annotators agree, and nothing about who they are."""

from __future__ import annotations

import yaml

from vistadpo_plugin.annotation.label_studio.agreement import Agreement
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.card import size_category, table

_RULES = """\
A row is here when more than half of those who judged it accepted it. Edits are applied: those of the annotator who
accepted it last. A field that was not edited is as it was before the review, to the last character.
Times are seconds on a player's clock; boxes are pixels of the upright picture that was shown beside the video.\
"""
_MEASURES = """\
Kappa is Cohen's, for accepting against not accepting. The overlap of events is the ticks of the time line in both over
those in any, that of boxes the area in both over that in any, each the mean over the rows that both accepted.
Annotators are numbered, not named.\
"""


def format_card(name: str, rows: int, file: str, command: str, account: Account, agreed: list[Agreement]) -> str:
    """The card's text. `file` holds the rows, `command` made them."""
    front = {
        "pretty_name": f"{name} (grounded preference rows, reviewed by people)",
        "task_categories": ["video-text-to-text"],
        "tags": ["preference", "dpo", "vistadpo", "video"],
        "size_categories": [size_category(rows)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": file}]}],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {name}",
        f"Grounded preference rows for `stage: vistadpo`, reviewed in Label Studio.\n\n```\n{command}\n```",
        f"## How it was made\n\n{_RULES}",
        f"## Accounting\n\n```\n{account.format()}\n```",
        "## Agreement\n\n" + format_agreement(agreed),
    ]
    return "\n\n".join(parts) + "\n"


def format_agreement(agreed: list[Agreement]) -> str:
    """A table with a line for every two annotators; a sentence where no row has two."""
    if not agreed:
        return "No row was judged by two annotators."
    names = sorted({name for each in agreed for name in each.annotators})
    number = {name: names.index(name) + 1 for name in names}
    lines = []
    for each in agreed:
        pair = " and ".join(str(number[name]) for name in each.annotators)
        kappa = "undefined" if each.kappa is None else f"{each.kappa:.2f}"
        overlaps = (_overlap(each.event_iou, each.events), _overlap(each.box_iou, each.boxes))
        lines.append((pair, each.rows, f"{each.share:.0%}", kappa, *overlaps))
    header = ("annotators", "rows judged by both", "the same", "kappa", "event IoU", "box IoU")
    undefined = "\n\nKappa is undefined where both always said the same one thing."
    told = undefined if any(each.kappa is None for each in agreed) else ""
    return f"{table(header, lines)}\n\n{_MEASURES}{told}"


def _overlap(value: float | None, rows: int) -> str:
    return "none" if value is None else f"{value:.2f} ({rows} rows)"
