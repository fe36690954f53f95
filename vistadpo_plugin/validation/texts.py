"""What the questions and answers of all rows are like: repetitions, contradictions, damaged texts, lengths."""

from __future__ import annotations

import statistics
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vistadpo_plugin.data.rows.schema import Row
from vistadpo_plugin.data.rows.values import VIDEO_PLACEHOLDER

# One answer so many times as long as the other is worth a look ...
FAR_LONGER = 3.0
# ... and so many characters longer, for "Yes." and "No." differ as much.
FAR_CHARACTERS = 20
# Always preferring the longer (or the shorter) text may be right this often before it is reported ...
LENGTH_BIAS = 0.7
# ... given so many rows, since a few tell nothing.
BIAS_ROWS = 20


@dataclass(frozen=True)
class Lengths:
    """Characters of one field, over the rows that have it; of `rejected` also the others of a list."""

    rows: int
    mean: float
    median: float
    shortest: int
    longest: int


@dataclass(frozen=True)
class TextStatistics:
    """Lengths by field; in how many rows `chosen` is longer than `rejected`, and in how many shorter."""

    lengths: dict[str, Lengths]
    chosen_longer: int
    chosen_shorter: int


def plain(text: str) -> str:
    """What a text says, whatever its case, its spaces and its last full stop, and without the video's placeholder."""
    words = " ".join(text.replace(VIDEO_PLACEHOLDER, " ").casefold().split())
    return words.rstrip(" .!?") or words


def judge_text(row: Row) -> Iterator[tuple[str, str]]:
    """(kind, sentence) of what one row's texts show."""
    chosen = plain(row.chosen)
    first: dict[str, str] = {}
    for name, text in row.texts.items():
        said = plain(text)
        if name in ("prompt", "chosen"):
            continue
        if said == chosen:
            yield "same-answers", f"`chosen` and `{name}` are the same text: {_quote(row.chosen)}"
        elif said in first:
            yield "same-rejected", f"`{first[said]}` and `{name}` are the same text: {_quote(row.texts[first[said]])}"
        first.setdefault(said, name)
    short, long = sorted((len(row.chosen), len(row.rejected)))
    if long > FAR_LONGER * short and long - short >= FAR_CHARACTERS:
        yield "length-gap", f"`chosen` has {len(row.chosen)} characters, `rejected` {len(row.rejected)}"
    for name, text in row.texts.items():
        if is_damaged(text):
            yield "odd-characters", f"`{name}`: {_quote(text)}"
    for name, text in row.texts.items():
        if name != "prompt" and text != text.strip():
            yield "outer-space", f"`{name}`: {_quote(text)}"


def _quote(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:57]} ... {shown[-18:]}"


def is_damaged(text: str) -> bool:
    """A replacement character, a control character, or UTF-8 that was once read as Windows-1252 (`Ã©` for `é`)."""
    if text.isascii():
        return any(unicodedata.category(char) == "Cc" and char not in "\n\t\r" for char in text)
    if any(char == "\ufffd" or (unicodedata.category(char) == "Cc" and char not in "\n\t\r") for char in text):
        return True
    try:
        return text.encode("cp1252").decode() != text
    except UnicodeError:
        return False


def judge_repetitions(rows: Sequence[Row]) -> Iterator[tuple[int, str, str]]:
    """(index of the row, kind, sentence) for rows that repeat or contradict an earlier one."""
    ids: dict[str, str] = {}
    questions: dict[tuple[object, str], _Asked] = {}
    for index, row in enumerate(rows):
        first = ids.setdefault(row.id, row.where)
        if first != row.where:
            yield index, "repeated-id", f"as {first}"
        chosen, *rejected = map(plain, row.answers.values())
        asked = questions.setdefault((row.video, plain(row.prompt)), _Asked(row.where))
        if (chosen, *rejected) in asked.answers:
            yield index, "repeated-row", f"as {asked.answers[chosen, *rejected]}"
        elif asked.answers:
            yield index, "repeated-question", f"as {asked.where}"
        if chosen in asked.rejected:
            yield index, "contradiction", f"`chosen` is a rejected answer of {asked.rejected[chosen]}"
        for text in rejected:
            if text in asked.chosen:
                yield index, "contradiction", f"a rejected answer is `chosen` in {asked.chosen[text]}"
        asked.answers.setdefault((chosen, *rejected), row.where)
        asked.chosen.setdefault(chosen, row.where)
        for text in rejected:
            asked.rejected.setdefault(text, row.where)


@dataclass
class _Asked:
    """Where a question about a video was asked first, and which answers it was given where."""

    where: str
    answers: dict[tuple[str, ...], str] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)


def measure(rows: Sequence[Row]) -> TextStatistics:
    """Lengths of all texts, and how they differ within rows."""
    lengths = {}
    for field_name in ("prompt", "chosen", "rejected", "rejected_irrelevant"):
        of_rows = [[text for name, text in row.texts.items() if name.partition("[")[0] == field_name] for row in rows]
        counts = [len(text.replace(f"{VIDEO_PLACEHOLDER}\n", "")) for texts in of_rows for text in texts]
        if counts:
            lengths[field_name] = Lengths(
                sum(map(bool, of_rows)), statistics.mean(counts), statistics.median(counts), min(counts), max(counts)
            )
    longer = sum(len(row.chosen) > len(row.rejected) for row in rows)
    shorter = sum(len(row.chosen) < len(row.rejected) for row in rows)
    return TextStatistics(lengths, longer, shorter)


def judge_lengths(texts: TextStatistics) -> Iterator[tuple[str, str]]:
    """(kind, sentence) when length alone gives the chosen answer away."""
    unequal = texts.chosen_longer + texts.chosen_shorter
    if unequal < BIAS_ROWS:
        return
    most = max(texts.chosen_longer, texts.chosen_shorter)
    if most >= LENGTH_BIAS * unequal:
        word = "longer" if most == texts.chosen_longer else "shorter"
        yield (
            "length-bias",
            f"`chosen` is the {word} answer in {most} of {unequal} rows ({most / unequal:.0%}; mean "
            f"{texts.lengths['chosen'].mean:.0f} characters against {texts.lengths['rejected'].mean:.0f}): "
            f"a model can learn to be {word} instead of right",
        )
