"""Which rewrites may stand for an option: one case for each part of the rule, on one question."""

from __future__ import annotations

import pytest

from vistadpo_plugin.datasets.rewrite_rule import EXTRA_WORDS, refusal

QUESTION = "Why did the boy pick up the present?"
OPTION = "Unwrap it."
OTHERS = ("Share with the girl.", "Do not want it.", "Dance in the garden.")


@pytest.mark.parametrize(
    "rewrite",
    [
        "Unwrap it.",
        "The boy picked up the present to unwrap it.",
        " He picks the present up, for he wants to UNWRAP it. ".replace("wants", "hopes"),
    ],
)
def test_taken(rewrite: str) -> None:
    assert refusal(rewrite, QUESTION, OPTION, OTHERS) is None


REFUSED = {
    "an empty rewrite": "  ",
    "more than one line of plain text": "The boy wishes to unwrap it.\nBecause he may.",
    "a word of the answer is missing": "The boy opened the present.",
    "a negation is added or dropped": "The boy did not unwrap it.",
    "a word of another option is added": "The boy picked up the present to unwrap it with the girl.",
    "too long": " ".join(["Unwrap", "it", *["very"] * 9, *["long"] * 9]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    assert refusal(REFUSED[reason], QUESTION, OPTION, OTHERS) == reason


@pytest.mark.parametrize("said", ["didn't", "never", "refuses to", "rather than play, did", "without"])
def test_negations_of_all_kinds(said: str) -> None:
    assert refusal(f"The boy {said} unwrap it.", QUESTION, OPTION, ()) == "a negation is added or dropped"


def test_a_negation_of_the_option_has_to_stay() -> None:
    option = "Not interested."
    assert refusal("The boy is not interested.", QUESTION, option, OTHERS) is None
    assert refusal("The boy is interested.", QUESTION, option, OTHERS) == "a word of the answer is missing"
    assert refusal("The boy is not not interested.", QUESTION, option, ()) == "a negation is added or dropped"


def test_a_flip_to_the_other_option_is_refused_even_when_the_question_names_it() -> None:
    asked = "Does the car turn left or right?"
    assert (
        refusal("The car turns right, left behind.", asked, "Left.", ["Right."]) == "a word of another option is added"
    )
    assert refusal("The car goes left.", asked, "Left.", ["Right."]) is None


def test_words_that_options_share_are_not_foreign() -> None:
    assert refusal("He kicks the red ball.", "What?", "Kicks red ball.", ["Kicks blue ball."]) is None


def test_the_bound_on_length_is_exact() -> None:
    """4 words of the question, 1 of the option, 8 more."""
    assert EXTRA_WORDS == 8
    longest = ["Sleeping", *["so"] * 12]
    assert refusal(" ".join(longest), "Why is it quiet?", "Sleeping.", ()) is None
    assert refusal(" ".join([*longest, "so"]), "Why is it quiet?", "Sleeping.", ()) == "too long"
