"""Option phrases as sentences by rule, and the words by which two texts are compared. No language model.

A sentence differs from its phrase in the case of its first letter, spacing, apostrophes and the final stop only:
`plain(sentence(phrase)) == plain(phrase)`.
"""

from __future__ import annotations

import re

# Words that carry grammar rather than content. Words of place and direction (up, left, before) do carry content.
FUNCTION_WORDS = frozenset(
    "a an the this that these those s it its he him his she her hers they them their theirs i me my we us our you your "
    "is are was were be been being am do does did has have had will would to of in on at by for with from into onto as "
    "and or so because while there then who what which where when why how".split()
)

_STOPS = ".!?"


def plain(text: str) -> str:
    """The text without what a sentence adds: lower case, apostrophes as spaces, single spaces, no final stop."""
    return " ".join(re.sub(r"['’]", " ", text.lower()).split()).rstrip(_STOPS).rstrip()


def sentence(phrase: str) -> str:
    """A capital letter, a full stop, and the apostrophe that data sets of spoken English lose ("boy s hand")."""
    return _spoken(phrase, ".")


def question(phrase: str) -> str:
    """As `sentence`, with a question mark."""
    return _spoken(phrase, "?")


def _spoken(phrase: str, stop: str) -> str:
    text = re.sub(r"(\w) s\b", r"\1's", " ".join(phrase.split()))
    return text[:1].upper() + text[1:] + ("" if text.endswith(tuple(_STOPS)) else stop)


def words(text: str) -> list[str]:
    """The words of a text in lower case; `closet/cabinet` and `hi-five` are one word each."""
    return re.findall(r"[^\W_]+(?:[-/][^\W_]+)*", plain(text))


def content_words(text: str) -> frozenset[str]:
    """The words that are no function words; all of them where there are no others ("on it")."""
    found = words(text)
    return frozenset(word for word in found if word not in FUNCTION_WORDS) or frozenset(found)


def stems(text: str) -> frozenset[str]:
    """The content words without regular endings, so that `turns`, `turned` and `turning` are one word.

    Cut by rule, for comparing two texts only: `close` and `closing` become `clos`, `sit` and `sitting` `sit`.
    """
    return frozenset(_stem(word) for word in content_words(text))


def _stem(word: str) -> str:
    cut = re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", word)
    return re.sub(r"([bdgmnprt])\1$", r"\1", cut)


def untokenized(text: str) -> str:
    """Text whose tokens were set apart (`did n't`, `Penny 's house .`, `6 : 30`), written as people write it."""
    text = re.sub(r"\s+(n't\b|'(?:s|re|m|d|ve|ll)\b|[.,?!;:])", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"(\d): (?=\d\d\b)", r"\1:", text)
    return re.sub(r"(s) '(?= |$)", r"\1'", text)
