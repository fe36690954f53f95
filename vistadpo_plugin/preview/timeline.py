"""Where the sampled frames of a row lie on its video, and where the event is."""

from __future__ import annotations

from dataclasses import dataclass

from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, FULL, KEYFRAME
from vistadpo_plugin.preview.shown import ShownRow

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MOST_TICKS = 6


@dataclass(frozen=True)
class Timeline:
    """A row's own video from 0 to `duration` seconds. `lanes`: for each view read from it, the times of its frames.

    `outside` is the stretch that the rejected clip is taken from.
    """

    duration: float
    events: tuple[tuple[float, float], ...]
    outside: tuple[float, float] | None
    lanes: dict[str, tuple[float, ...]]
    ticks: tuple[float, ...]

    def share(self, seconds: float) -> float:
        """Place on the line, from 0 to 1."""
        return seconds / self.duration


def make_timeline(shown: ShownRow) -> Timeline | None:
    """None where no view is read from the row's own video, or the video is a single frame."""
    row = shown.grounded
    own = [
        view
        for view in shown.views.values()
        if view.made is None and view.origin.owner is row and view.origin.source.video == row.video
    ]
    if not own or own[0].origin.duration == 0:
        return None
    duration = own[0].origin.duration
    lanes = {
        view.name: tuple(frame.seconds for frame in view.frames if frame.seconds is not None)
        for view in own
        if view.name in (FULL, CLIP, CLIP_NEGATIVE, KEYFRAME)
    }
    return Timeline(duration, row.events, row.outside if CLIP_NEGATIVE in lanes else None, lanes, _ticks(duration))


def _ticks(duration: float) -> tuple[float, ...]:
    step = next((step for step in _STEPS if duration / step < _MOST_TICKS), _STEPS[-1])
    return tuple(number * step for number in range(int(duration / step) + 1))
