"""Frames by their times: which lie in an interval, which is nearest, and where the longest stretch between events is.

Times are seconds after the first frame, as `FrameSource.times` has them.
"""

from __future__ import annotations

import numpy as np

# The clip term needs a stretch without the event of at least this much.
MIN_OUTSIDE_SECONDS = 1.0
MIN_OUTSIDE_FRAMES = 4

TIME_TOLERANCE_SECONDS = 1e-4


def frame_step(times: np.ndarray) -> float:
    """Mean seconds from one frame to the next; 0 for a single frame."""
    return float(times[-1] / (len(times) - 1)) if len(times) > 1 else 0.0


def between(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Which frames lie in [start, end]: bool (n,). A tenth of a millisecond is allowed for decimal rounding."""
    return (times >= start - TIME_TOLERANCE_SECONDS) & (times <= end + TIME_TOLERANCE_SECONDS)


def nearest_frame(times: np.ndarray, seconds: float) -> int:
    """Index of the frame whose time is nearest; the earlier one of two."""
    return int(np.abs(times - seconds).argmin())


def inside_events(times: np.ndarray, events: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Which frames fall inside any event, ends included: bool (n,)."""
    inside = np.zeros(len(times), dtype=bool)
    for start, end in events:
        inside |= between(times, start, end)
    return inside


def longest_outside(times: np.ndarray, events: tuple[tuple[float, float], ...]) -> tuple[float, float] | None:
    """(start, end) in seconds of the longest stretch without the event, or None when it is too short for a clip.

    `events` are sorted and do not touch. The stretch must last a second and hold four frames.
    """
    duration = float(times[-1] + frame_step(times))
    edges = [0.0, *(edge for event in events for edge in event), duration]
    gaps = [(edges[index], edges[index + 1]) for index in range(0, len(edges), 2)]
    start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    frames = between(times, start, end) & ~inside_events(times, events)
    if end - start < MIN_OUTSIDE_SECONDS or frames.sum() < MIN_OUTSIDE_FRAMES:
        return None
    return start, end
