"""The data card of rows built from pairs: whose pairs they are, and counts of the run and nothing else."""

from __future__ import annotations

from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.datasets.card import accounting, bullets, front_matter, how_it_was_made, table, videos_there
from vistadpo_plugin.datasets.preferences.layouts import Layout
from vistadpo_plugin.datasets.preferences.rows import PairRow, count_layouts
from vistadpo_plugin.datasets.source import Coverage

RULES = (
    "A row is one pair: texts without the blanks around them, the place of the video taken out of the prompt where it "
    "is at its beginning. Nothing is drawn and nothing rewritten; `rejected_irrelevant`, `event`, `keyframe` and `box` "
    "are not in such data, so rows carry the response and the video term.",
    "An `id` is the place of the pair: file and line, or file and index in its list.",
    "Validation holds out whole videos, drawn by seed.",
)


def format_card(
    name: str, layouts: dict[str, Layout], splits: dict[str, list[PairRow]], files: dict[str, str],
    coverages: list[Coverage], account: Account, command: str, seed: int,
) -> str:  # fmt: skip
    """The card's text. `layouts` is that of every file read, `files` gives the file of each split."""
    known = list({layout.name: layout for layout in layouts.values()}.values())
    license = known[0].facts.license if len(known) == 1 else {"license": "other", "license_name": "several"}
    titles = ", ".join(f"[{layout.facts.title}]({layout.facts.repository})" for layout in known)
    parts = [
        front_matter(f"{name} (preference rows)", license, splits, files, machine_generated=False),
        f"# {name}",
        f"Preference rows for `stage: vistadpo`, built from {titles}.",
        "## Terms\n\n" + bullets(term for layout in known for term in layout.facts.terms),
        how_it_was_made(command, seed) + bullets((*RULES, *(rule for layout in known for rule in layout.facts.rules))),
        videos_there(coverages),
        "## Counts\n\n" + _counts(layouts, splits),
        accounting(account),
    ]
    return "\n\n".join(parts) + "\n"


def _counts(layouts: dict[str, Layout], splits: dict[str, list[PairRow]]) -> str:
    rows = [
        (
            split,
            len(members),
            len({row.video for row in members}),
            sum("rejected_video" in row.fields for row in members),
        )
        for split, members in splits.items()
    ]
    every = [row for members in splits.values() for row in members]
    return "\n\n".join(
        [
            table(("split", "rows", "videos", "with `rejected_video`"), rows),
            table(("file", "layout"), [(file, layout.name) for file, layout in layouts.items()]),
            table(("layout", "rows"), count_layouts(every)),
        ]
    )
