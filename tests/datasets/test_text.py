"""Phrases as sentences, and the words that are compared. Examples are of NExT-GQA's and STAR's own kinds."""

from __future__ import annotations

import pytest

from vistadpo_plugin.datasets.text import content_words, plain, question, sentence, words


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("unwrap it", "Unwrap it."),
        ("hold the girl s hand", "Hold the girl's hand."),
        ("it s sunny", "It's sunny."),
        ("film  bunny", "Film bunny."),
        ("catching toy ", "Catching toy."),
        ("3 wheels", "3 wheels."),
        ("The closet/cabinet.", "The closet/cabinet."),
        ("really!", "Really!"),
    ],
)
def test_a_phrase_becomes_a_sentence(phrase: str, expected: str) -> None:
    assert sentence(phrase) == expected
    assert sentence(expected) == expected
    assert plain(expected) == plain(phrase)


def test_a_question_ends_in_one_question_mark() -> None:
    assert question("why is the girl s dog running") == "Why is the girl's dog running?"
    assert question("Which object was opened?") == "Which object was opened?"


def test_plain_texts_differ_by_their_words_only() -> None:
    assert plain("The  Boy's hand. ") == plain("the boy s hand") == "the boy s hand"
    assert plain("get up") != plain("get up again")


def test_words_and_content_words() -> None:
    assert words("Hi-five the sofa/couch, twice!") == ["hi-five", "the", "sofa/couch", "twice"]
    assert content_words("to pick the boy s food up") == {"pick", "boy", "food", "up"}
    # Nothing but function words: then these are what it says.
    assert content_words("on it") == {"on", "it"}
