"""What is asked about events, and which sentences are wrong: on made-up events, by hand and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vistadpo_plugin.datasets.questions import Question
from vistadpo_plugin.datasets.sources.intervals.events import Event
from vistadpo_plugin.datasets.sources.intervals.questions import ask

SEEDS = range(12)


def event(name: str, start: float, end: float, said: str, video: str = "v") -> Event:
    return Event(name, video, said, ((start, end),), (start, end))


def asked(events: list[Event], name: str, seed: int = 0) -> Question:
    found = {question.id: question for question in ask(events, lambda event: (None, (), ()), seed)}
    assert len(found) == len(events)
    return found[name]


THREE = [
    event("a", 0, 5, "A man puts a book away."),
    event("b", 6, 12, "A man sits down."),
    event("c", 12, 20, "A man opens the door."),
]


def test_the_last_of_three_comes_after_the_second_and_the_first_is_wrong() -> None:
    """Only this way: what happens before something needs an event that comes before it, and nothing comes after c."""
    for seed in SEEDS:
        question = asked(THREE, "c", seed)
        assert (question.kind, question.prompt) == ("after", 'What happens after "A man sits down"?')
        assert (question.right, question.wrong) == ("A man opens the door.", ("A man puts a book away.",))
        assert question.events == ((12, 20),)
        first = asked(THREE, "a", seed)
        assert (first.kind, first.prompt) == ("before", 'What happens before "A man sits down"?')
        assert first.wrong == ("A man opens the door.",)


def test_the_middle_one_is_asked_for_by_its_time() -> None:
    """Each neighbour as anchor would leave nothing on its other side."""
    wrong = {asked(THREE, "b", seed).wrong for seed in SEEDS}
    assert wrong == {("A man puts a book away.",), ("A man opens the door.",)}
    assert asked(THREE, "b").prompt == "What happens between 6 and 12 seconds of the video?"


def test_the_nearest_anchor_is_named() -> None:
    events = [*THREE, event("d", 21, 30, "A dog barks.")]
    prompts = {asked(events, "d", seed).prompt for seed in SEEDS}
    assert prompts == {'What happens after "A man opens the door"?'}
    assert {asked(events, "d", seed).wrong[0] for seed in SEEDS} == {"A man puts a book away.", "A man sits down."}


def test_what_happens_twice_is_no_anchor_and_no_wrong_answer_where_it_is_true() -> None:
    """The man opened the door before as well: c's wrong answer may be a only, and the anchor not b."""
    events = [*THREE, event("d", 21, 30, "A dog barks."), event("b2", 31, 40, "The man is sitting down.")]
    for seed in SEEDS:
        question = asked(events, "d", seed)
        assert "sits" not in question.prompt and "sitting" not in question.prompt
        if question.kind == "after":
            # b happens again after c, so it would be a right answer.
            assert question.wrong == ("A man puts a book away.",)


def test_what_is_told_of_two_overlapping_times_is_no_anchor() -> None:
    """The cat's second event begins with the dog's end, its first does not: "after" the cat would be after the dog."""
    events = [event("d", 0, 1, "A dog runs."), event("c1", 0, 2, "A cat eats."), event("c2", 1, 2, "A cat eats."),
              event("m", 2, 3, "A man sings.")]  # fmt: skip
    assert {asked(events, "m", seed).kind for seed in SEEDS} == {"when"}


def test_two_events_are_told_apart_by_their_times() -> None:
    question = asked(THREE[:2], "a")
    assert question.kind == "when" and question.wrong == ("A man sits down.",)
    assert question.prompt == "What happens between 0 and 5 seconds of the video?"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (event("o", 4, 9, "A dog barks."), "it overlaps by more than a tenth"),
        (event("o", 20, 25, "The man opened a door."), "it says the same in another form"),
        (event("o", 20, 25, "A man opens the door and leaves."), "it says all that the right answer says"),
    ],
)
def test_no_wrong_answer_from_the_video(other: Event, why: str) -> None:
    question = asked([event("e", 0, 5, "A man opens the door."), other], "e")
    assert (question.kind, question.wrong) == ("when", ()), why


def test_a_paraphrase_at_the_same_time_is_never_wrong() -> None:
    events = [*THREE, event("c2", 12, 20, "Somebody leaves the room.")]
    for seed in SEEDS:
        for name in ("c", "c2"):
            assert not {"Somebody leaves the room.", "A man opens the door."} & set(asked(events, name, seed).wrong)


def test_several_windows_are_one_span_and_the_salient_one_is_asked_for() -> None:
    both = Event("e", "v", "A dog runs.", ((0, 4), (20, 24)), (20, 24), 21.0)
    question = asked([both, event("o", 8, 12, "A cat eats.")], "e")
    assert question.prompt == "What happens between 20 and 24 seconds of the video?"
    assert question.events == ((0, 4), (20, 24)) and question.wrong == ()  # the cat eats in between


WORDS = st.sampled_from(["A dog runs.", "A cat eats.", "A man sings.", "Rain falls.", "A car stops.", "A boy reads."])
EVENTS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6), WORDS), min_size=1, max_size=7)


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.integers(0, 3))
def test_a_wrong_answer_of_the_video_is_not_true_at_the_time_asked_for(
    drawn: list[tuple[int, int, str]], seed: int
) -> None:
    """By the times alone: nothing that says it lies on the side of the anchor, or within the seconds, asked for."""
    events = [event(str(n), start, start + length, said) for n, (start, length, said) in enumerate(drawn)]
    for one, question in zip(events, ask(events, lambda event: (None, (), ()), seed), strict=True):
        if not question.wrong:
            continue
        wrong = [other for other in events if other.sentence == question.wrong[0]]
        assert wrong and question.wrong[0] != one.sentence
        if question.kind == "when":
            start, end = one.asked
            assert all(other.windows[0][1] <= start + 0.6 or other.windows[0][0] >= end - 0.6 for other in wrong)
            continue
        said = question.prompt.split('"')[1] + "."
        anchors = [other for other in events if other.sentence == said]
        if question.kind == "after":
            assert all(other.windows[0][0] < anchor.windows[0][0] for other in wrong for anchor in anchors)
            assert all(anchor.windows[0][0] < one.windows[0][0] for anchor in anchors)
        else:
            assert all(other.windows[0][1] > anchor.windows[0][1] for other in wrong for anchor in anchors)
            assert all(one.windows[0][1] < anchor.windows[0][1] for anchor in anchors)
