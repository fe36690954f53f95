"""What a run is about to do, said once in the log before the first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from vistadpo_plugin.data.rows.box_style import box_style
from vistadpo_plugin.data.rows.grounded_rows import GroundedRows
from vistadpo_plugin.data.tokens.control_tokens import TokenKinds, read_found
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import KEYFRAME, NO_MATE, missing_grounding, needs_mate, token_view

NO_VIDEO = "not a row with one video"


def term_gaps(dataset: GroundedRows, term: str, view_keys: ViewKeys) -> Counter:
    """Why rows lack a term, counted by reason; the rows that have it are under None."""
    gaps: Counter = Counter()
    for row in dataset.grounded:
        if row is None:
            gaps[None if term == "response" else NO_VIDEO] += 1
        else:
            reason = missing_grounding(row, term, view_keys)
            if reason is None and needs_mate(row, term, view_keys) and not dataset.has_mates:
                reason = NO_MATE
            gaps[reason] += 1
    return gaps


def term_rows(dataset: GroundedRows, view_keys: ViewKeys) -> dict[str, Any]:
    """How many rows there are, and for each term that is on how many carry it, and why the others do not."""
    terms = {}
    for term in view_keys.terms:
        gaps = term_gaps(dataset, term, view_keys)
        terms[term] = {"rows": gaps.pop(None, 0), "without": dict(gaps.most_common())}
    return {"rows": len(dataset), "terms": terms}


def term_table(dataset: GroundedRows, weights: dict[str, float], view_keys: ViewKeys) -> list[str]:
    """A line for every term: its weight, how many rows carry it, and why the others do not."""
    lines = [f"  {'term':<9}{'weight':>7}{'rows':>8}  without it"]
    for term, weight in weights.items():
        if term not in view_keys.terms:
            lines.append(f"  {term:<9}{'off':>7}")
            continue
        gaps = term_gaps(dataset, term, view_keys)
        have = gaps.pop(None, 0)
        without = "; ".join(f"{count} {reason}" for reason, count in gaps.most_common()) or "-"
        if term == "token":
            on_keyframe = sum(row is not None and token_view(row, view_keys) == KEYFRAME for row in dataset.grounded)
            without += f" ({on_keyframe} look at the keyframe, {have - on_keyframe} at the full video)"
        own = sum(row is not None and bool(row.own_negatives(term)) for row in dataset.grounded)
        if own:
            without += f" ({own} with a rejected view of their own)"
        lines.append(f"  {term:<9}{weight:>7g}{have:>8}  {without}")
    return lines


def summarize(
    name: str,
    dataset: GroundedRows,
    weights: dict[str, float],
    view_keys: ViewKeys,
    view_tokens: dict[str, str],
    mates: str | None = None,
) -> str:
    """The table of the terms, tokens per view, and what else was noted of the rows; `mates`: how they are chosen."""
    videos = len({key for key in dataset.video_keys if key is not None})
    lines = [f"VistaDPO {name}: {len(dataset)} rows, {videos} videos", *term_table(dataset, weights, view_keys)]
    recordings = len({key for key in dataset.recordings if key is not None})
    if recordings < videos:
        lines.append(
            f"  note: {plural(recordings, 'recording')} in {videos} videos; copies, and videos of one `group`, are "
            "never each other's unrelated video"
        )
    lines += [f"  {view}: {tokens}" for view, tokens in view_tokens.items()]
    if mates is not None:
        lines.append(f"  {mates}")
    notes = Counter(note for row in dataset.grounded if row is not None for note in set(row.notes))
    lines += [f"  note: {note} ({plural(count, 'row')})" for note, count in notes.most_common()]
    written = box_style(dataset.grounded)
    if written is not None:
        lines.append(f"  warning: {written[1]}")
    return "\n".join(lines)


def phrase_report(marked: int, rows: int, outside: float) -> str | None:
    """What comes of the phrases that are marked in the answers of `marked` rows; None where there is nothing to say."""
    if outside == 1:
        return f"`phrases` of {plural(marked, 'row')} are ignored: `vista_outside_phrases` is 1." if marked else None
    counted = plural(rows, "row")
    if not marked:
        return f"No row has `phrases`: `vista_outside_phrases: {outside:g}` has no effect on these {counted}."
    return f"{marked} of {counted} have `phrases`: tokens outside of them, in answers that have any, weigh {outside:g}."


def control_report(kinds: TokenKinds, rows: Iterable[tuple[str, str]]) -> str | None:
    """What is said of all rows, given as (where, column); None when no text holds a control token."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for where, column in rows:
        for found in kinds.controls(read_found(column)):
            counts[found] += 1
            first.setdefault(found, where)
    if not counts:
        return None
    lines = [
        f"  {token} in `{field}` of {plural(count, 'row')}, first {first[field, token]}"
        for (field, token), count in counts.most_common()
    ]
    return "Texts hold control tokens; to the model an answer ends there, or a turn begins:\n" + "\n".join(lines)
