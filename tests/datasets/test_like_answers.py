"""Wrong answers from like events of other videos: what may be one, and which is most like."""

from __future__ import annotations

from vistadpo_plugin.datasets.likeness import LikeSentences
from vistadpo_plugin.datasets.questions import Question


def told(video: str, said: str, group: str | None = None) -> Question:
    return Question(f"{video}/{said}", video, "when", "What happens?", said, (), ((0.0, 1.0),), group=group)


ASKED = told("v1", "A man plays the guitar on a stage.")


def drawn(*others: Question, asked: Question = ASKED) -> set[str | None]:
    return {LikeSentences([asked, *others], seed).draw(asked) for seed in range(5)}


def test_the_most_like_sentence_of_another_recording() -> None:
    """Words without endings in common with {man, play, guitar, stage}: 2 of 6, 1 of 5, 0 of 6."""
    others = (
        told("v2", "A man plays drums and sings."),
        told("v3", "A man sleeps."),
        told("v4", "Two dogs run."),
        told("v1", "A man plays drums."),  # of the same video
        told("v5", "A man plays drums on a ship.", group="upload"),
    )
    assert drawn(*others[:4]) == {"A man plays drums and sings."}
    # Cuts of one upload are one recording.
    asked = told("v6", "A man plays the guitar on a stage.", group="upload")
    assert drawn(*others[1:3], others[4], asked=asked) == {"A man sleeps."}


def test_what_may_be_true_is_not_taken() -> None:
    assert drawn(told("v2", "A man played a guitar.")) == {None}, "it says nothing that is not said of the video"
    assert drawn(told("v2", "A man plays the guitar on a stage alone.")) == {None}, "it leaves nothing out"
    assert drawn(told("v2", "A man plays guitar on a boat.")) == {None}, "3 of 5 words: a detail differs"
    shown = told("v1", "A woman sings.")
    assert drawn(shown, told("v2", "A woman sings."), told("v3", "Rain falls.")) == {"Rain falls."}


def test_draws_do_not_depend_on_the_order() -> None:
    many = [told(f"w{number}", f"A man plays thing{number} and word{number % 7}.") for number in range(400)]
    one, other = LikeSentences([ASKED, *many], 3), LikeSentences([*many[::-1], ASKED], 3)
    assert one.draw(ASKED) == other.draw(ASKED) is not None
    assert len({LikeSentences([ASKED, *many], seed).draw(ASKED) for seed in range(8)}) > 3
