"""What is asked about an event, and which sentence is the wrong answer.

A sentence that is true of the whole video is a wrong answer only to a question about time. So the question names a
time, in one of three ways, and the wrong answer is the sentence of another event of the video wherever there is one:

- `after`, `before`: "What happens after X?", X another event. The wrong answer happens on the other side of X. The clip
  shows what happens, but not that it follows X.
- `when`: "What happens between 3 and 9.5 seconds of the video?", where no two other events leave that choice. The
  wrong answer is another event's sentence; a like sentence about another video where there is no other event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.questions import Question, rng
from vistadpo_plugin.datasets.sources.intervals.events import Event

# Annotators' intervals of events that follow one another touch, and overlap a little.
_OVERLAP = 0.1

Grounded = Callable[[Event], tuple[float | None, tuple[Box, ...], tuple[str, ...]]]


def ask(events: Sequence[Event], grounding: Grounded, seed: int) -> list[Question]:
    """A question for every event, in their order. `grounding` gives an event's keyframe, boxes and notes."""
    videos: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        videos[event.video].append(event)
    questions = []
    for event in events:
        kind, prompt, wrong = _question(event, videos[event.video], seed)
        keyframe, boxes, notes = grounding(event)
        questions.append(
            Question(
                id=event.id,
                video=event.video,
                kind=kind,
                prompt=prompt,
                right=event.sentence,
                wrong=(wrong,) if wrong else (),
                events=event.windows,
                keyframe=keyframe,
                boxes=boxes,
                group=event.group,
                notes=(*event.notes, *notes),
            )
        )
    return questions


def _question(event: Event, video: list[Event], seed: int) -> tuple[str, str, str | None]:
    """(kind, prompt, wrong answer; None where the video has no other event) for one event among those of its video."""
    draw = rng(seed, "interval", event.id)
    ways = {way: found for way in ("after", "before") if (found := _anchors(way, event, video))}
    if ways:
        way = draw.choice(list(ways))
        # The anchor nearest to the event, so that what happens "after" it is not everything that comes.
        anchor = min(ways[way], key=lambda anchor: (_gap(anchor, event), anchor.id))
        said = anchor.sentence.rstrip(".!? ")
        return way, f'What happens {way} "{said}"?', draw.choice(ways[way][anchor]).sentence
    then = [other for other in video if not _apart(other, event)]
    wrong = [other for other in video if _apart(other, event) and _differ(other, event) and not _told(other, then)]
    start, end = event.asked
    prompt = f"What happens between {_seconds(start)} and {_seconds(end)} seconds of the video?"
    return "when", prompt, draw.choice(wrong).sentence if wrong else None


def _anchors(way: str, event: Event, video: list[Event]) -> dict[Event, list[Event]]:
    """Other events -> those that are wrong answers to "What happens WAY it?", being over by then (or yet to come)."""

    def precedes(first: Event, second: Event) -> bool:
        return _precedes(first, second) if way == "after" else _precedes(second, first)

    found = {}
    for anchor in video:
        twice = any(_span(other) != _span(anchor) and other.stems == anchor.stems for other in video)
        if twice or not precedes(anchor, event) or not _differ(anchor, event):
            continue  # what happens twice names no time
        over = [other for other in video if precedes(other, anchor)]
        right = [other for other in video if not precedes(other, anchor)]
        wrong = [other for other in over if _differ(other, event) and not _told(other, right)]
        if wrong:
            found[anchor] = wrong
    return found


def _differ(first: Event, second: Event) -> bool:
    """Whether each sentence says something that the other does not."""
    return bool(first.stems - second.stems and second.stems - first.stems)


def _told(event: Event, others: list[Event]) -> bool:
    """Whether one of the others says the same, so that the sentence is true of their time as well."""
    return any(other.stems == event.stems for other in others)


def _span(event: Event) -> tuple[float, float]:
    """The first start and the last end."""
    return event.windows[0][0], max(end for _, end in event.windows)


def _precedes(first: Event, second: Event) -> bool:
    """Whether the first event is over when the second begins, up to an overlap of a tenth of the shorter one."""
    (start, end), (later, last) = _span(first), _span(second)
    return start < later and end - later <= _OVERLAP * min(end - start, last - later)


def _apart(first: Event, second: Event) -> bool:
    return _precedes(first, second) or _precedes(second, first)


def _gap(first: Event, second: Event) -> float:
    """Seconds between the two."""
    return max(_span(second)[0] - _span(first)[1], _span(first)[0] - _span(second)[1])


def _seconds(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
