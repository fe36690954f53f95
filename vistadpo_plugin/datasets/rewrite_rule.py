"""When a language model's sentence may take the place of an option: a rule that can be checked word by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vistadpo_plugin.datasets.text import content_words, words

# Apostrophes are spaces to `words`: "didn't" gives "didn" and "t".
NEGATIONS = frozenset(
    "no not t never none nothing nobody nowhere neither nor without cannot cant dont doesnt didnt isnt arent wasnt "
    "wont instead rather except unlike hardly barely scarcely rarely seldom fail fails failed failing refuse refuses "
    "refused refusing unable".split()
)

EXTRA_WORDS = 8
"""How many words a rewrite may have beyond those of the question and the option together."""


def refusal(rewrite: str, question: str, option: str, others: Iterable[str]) -> str | None:
    """Why `rewrite` may not stand for `option`, or None when it may.

    It keeps every content word of the option, adds and drops no negation, has no content word of another option that
    the option lacks, is one line without placeholders, and no longer than question, option and 8 words.
    """
    text = rewrite.strip()
    if not text:
        return "an empty rewrite"
    if "\n" in text or "<" in text or ">" in text:
        return "more than one line of plain text"
    said, meant = words(text), content_words(option)
    if not meant <= set(said):
        return "a word of the answer is missing"
    if _negations(said) != _negations(words(option)):
        return "a negation is added or dropped"
    if content_words(text) & (frozenset().union(*map(content_words, others)) - meant):
        return "a word of another option is added"
    if len(said) > len(words(question)) + len(words(option)) + EXTRA_WORDS:
        return "too long"
    return None


def _negations(said: list[str]) -> Counter[str]:
    return Counter(word for word in said if word in NEGATIONS)
