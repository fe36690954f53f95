"""Which answers a row gets: rules checked on made-up questions, whose ids decide nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vistadpo_plugin.datasets.questions import (
    IrrelevantPool,
    Question,
    differing,
    draw_rejected,
    right_answers,
    split_videos,
    video_words,
)


def asked(name: str, video: str, right: str, *wrong: str, kind: str = "CW", prompt: str = "Why?") -> Question:
    return Question(name, video, kind, prompt, right, wrong, ((0.0, 1.0),))


def test_a_wrong_option_says_something_else() -> None:
    made = asked("q", "v", "Pick the ball up.", "pick the ball UP", "Pick up ball.", "Throw the ball.", "On it.")
    assert differing(made) == ["On it.", "Throw the ball."]


def test_rejected_prefers_what_the_video_is_known_to_show() -> None:
    made = asked("q", "v", "Pick the ball up.", "A rocket starts.", "Feed the dog.", prompt="Why does the dog bark?")
    shown = video_words([made])["v"]
    assert shown == {"dog", "bark", "pick", "ball", "up"}
    assert {draw_rejected(made, shown, frozenset(), seed) for seed in range(20)} == {"Feed the dog."}
    # Nothing of the video in any of them: all are drawn from.
    assert {draw_rejected(made, frozenset({"cat"}), frozenset(), seed) for seed in range(20)} == {
        "A rocket starts.",
        "Feed the dog.",
    }
    assert draw_rejected(asked("q", "v", "Run.", "run"), shown, frozenset(), 0) is None


def test_what_is_right_where_the_question_is_asked_again_is_not_rejected() -> None:
    once = asked("a", "v", "Singing.", "Dancing.", "Sleeping.", prompt="Why is she glad?")
    again = asked("b", "v", "Dancing.", "Eating.", prompt="why is she glad")
    elsewhere = asked("c", "w", "Sleeping.", "Eating.", prompt="Why is she glad?")
    right = right_answers([once, again, elsewhere])["v", "why is she glad"]
    assert right == {"singing", "dancing"}
    assert {draw_rejected(once, frozenset(), right, seed) for seed in range(9)} == {"Sleeping."}
    assert draw_rejected(asked("a", "v", "Singing.", "Dancing."), frozenset(), right, 0) is None


def test_irrelevant_is_of_another_video_and_shares_no_word() -> None:
    questions = [
        asked("a", "v1", "Chasing a ball.", "Hungry.", prompt="Why does the dog run?"),
        asked("b", "v1", "Of the same video."),
        asked("c", "v2", "Hungry."),  # an option of a
        asked("d", "v3", "The dog barks."),  # a word of a's question
        asked("e", "v4", "Fell off the sofa."),
        asked("f", "v5", "Cooking noodles.", kind="TN"),
    ]
    drawn = {seed: IrrelevantPool(questions, seed).draw(questions[0]) for seed in range(30)}
    assert {found.source.id for found in drawn.values()} == {"e"}
    assert not any(found.close for found in drawn.values())
    # Without e: an answer of another kind goes before one with a word in common.
    assert {IrrelevantPool(questions[:4] + questions[5:], seed).draw(questions[0]).source.id for seed in range(9)} == {
        "f"
    }
    found = IrrelevantPool(questions[:4], 0).draw(questions[0])
    assert (found.source.id, found.close) == ("d", True)
    assert IrrelevantPool(questions[:3], 0).draw(questions[0]) is None


def test_draws_depend_on_seed_and_not_on_order() -> None:
    questions = [asked(f"q{index}", f"v{index}", f"Word{index}.", "Left.", "Right.", "Up.") for index in range(40)]
    shown = frozenset({"left", "right", "up"})

    def drawn(members: list[Question], seed: int) -> list[tuple[str | None, str]]:
        pool = IrrelevantPool(members, seed)
        return [(draw_rejected(item, shown, frozenset(), seed), pool.draw(item).source.id) for item in questions]

    assert drawn(questions, 0) == drawn(questions[::-1], 0)
    assert drawn(questions, 0) != drawn(questions, 1)
    # Irrelevant answers come from all over: a fixed choice would give one or two sources.
    assert len({source for _, source in drawn(questions, 0)}) > 15


@pytest.mark.parametrize(("videos", "share", "held_out"), [(10, 0.2, 2), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1)])
def test_a_share_of_the_videos_is_held_out(videos: int, share: float, held_out: int) -> None:
    names = [f"v{index}" for index in range(videos)]
    found = split_videos(names + names, share, seed=3)
    assert len(found) == held_out and found < set(names)
    assert found == split_videos(names[::-1], share, seed=3)


def test_no_share_and_too_few_videos() -> None:
    assert split_videos(["v"], 0, seed=0) == frozenset()
    with pytest.raises(ValueError, match="about 1 video: two are needed"):
        split_videos(["v", "v"], 0.5, seed=0)


def test_cuts_of_one_recording_are_not_about_different_things() -> None:
    one, cut = asked("a", "v1", "Running."), asked("b", "v2", "Cooking.")
    one, cut = replace(one, group="upload"), replace(cut, group="upload")
    assert IrrelevantPool([one, cut], 0).draw(one) is None
    assert IrrelevantPool([one, replace(cut, group="other")], 0).draw(one).source.id == "b"


def test_no_irrelevant_answer_names_what_is_shown() -> None:
    others = [asked("b", "v2", "The big dog."), asked("c", "v3", "A boat.")]
    assert {IrrelevantPool(others, seed).draw(asked("a", "v1", "Running.")).source.id for seed in range(9)} == {
        "b",
        "c",
    }
    shown = replace(asked("a", "v1", "Running."), shown=("dog", "cat"))
    assert {IrrelevantPool(others, seed).draw(shown).source.id for seed in range(9)} == {"c"}


def test_a_word_that_most_answers_have_does_not_make_them_alike() -> None:
    others = [asked(f"q{n}", f"v{n}", f"The person lifts thing{n}.") for n in range(5)]
    first = asked("a", "v", "The person sleeps.")
    found = IrrelevantPool([*others, first], 0).draw(first)
    assert found is not None and not found.close
    # "lifts" is in no more than half of these, so it counts.
    mixed = [*others[:2], *(asked(f"r{n}", f"w{n}", f"Rain{n} falls.") for n in range(3))]
    drawn = {IrrelevantPool(mixed, seed).draw(asked("a", "v", "It lifts.")).source.id[0] for seed in range(20)}
    assert drawn == {"r"}
