"""Phrases as sentences, and the words that are compared. Examples are of NExT-GQA's and STAR's own kinds."""

from __future__ import annotations

import pytest

from vistadpo_plugin.datasets.text import content_words, plain, question, sentence, stems, untokenized, words


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


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("What did n't Penny 's friend say ?", "What didn't Penny's friend say?"),
        ("They 're late , he 'll go at 6 : 30 .", "They're late, he'll go at 6:30."),
        ("He said : you are here .", "He said: you are here."),
        ("Colonel Williams ' reaction", "Colonel Williams' reaction"),
        ("Sing ' Soft Kitty ' now", "Sing ' Soft Kitty ' now"),  # which quote opens is not known
    ],
)
def test_tokens_become_text_again(tokens: str, expected: str) -> None:
    assert untokenized(tokens) == expected


def test_stems_are_equal_for_forms_of_one_word() -> None:
    assert stems("He turns, turned and is turning") == stems("turn")
    assert stems("closes closing closed") == stems("close") and stems("sitting") == stems("sit") == stems("sits")
    assert stems("Puts the books away") == stems("putting a book away")
    assert stems("open the door") != stems("close the door") and stems("this bus") == {"bus"}
