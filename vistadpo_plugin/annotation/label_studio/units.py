"""Seconds and pixels as rows have them <-> ticks of a time line and per cents of a picture as Label Studio has them.

Label Studio knows a video's rate from the labelling configuration, not its frames. Its time line has ticks, which it
calls frames: numbered from 1, the last of a range included. Tick n goes to (n - 1) / rate seconds and 2 ms on the
player's clock (`goToFrame` of its VideoCanvas, 1.23), so in a video of that rate tick n shows the n-th picture. A box
is x, y, width and height in per cents of the picture's width and height, (x, y) its top left corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.data.video.intervals import TIME_TOLERANCE_SECONDS

Ticks = tuple[int, int]
"""First and last tick of a range, both included."""

# What the player adds to the time of a tick, so that rounding does not show the picture before.
PLAYER_SECONDS = 0.002

# Rates that the player can count in: it takes one below 1 for seconds a frame, and its two milliseconds are more than
# half a tick above this.
SLOWEST, FASTEST = 1.0, 240.0

# Ticks a second where pictures are not evenly spaced.
UNEVEN_RATE = 60.0

# Matroska rounds times to milliseconds; pictures nearer than this to a ruler's marks are taken to be there.
EVEN_SECONDS = 0.00101

_MS = 1000.0


@dataclass(frozen=True)
class Ruler:
    """The time line of one video: `rate` ticks a second, and when each picture comes, in seconds (n,), ascending.

    Where `even`, picture i is that of tick i + 1 and the times are i / rate. `shift` is how much later a player's clock
    is than the one that Label Studio shows: it is not 0 for copies of videos whose picture begins after their sound.
    """

    rate: float
    times: np.ndarray
    even: bool
    shift: float = 0.0

    def to_ticks(self, event: tuple[float, float]) -> Ticks:
        """The ticks that show the pictures inside [start, end], seconds on a player's clock; at least one."""
        start, end = event[0] - self.shift, event[1] - self.shift
        first = int(np.searchsorted(self.times, start - TIME_TOLERANCE_SECONDS))
        last = int(np.searchsorted(self.times, end + TIME_TOLERANCE_SECONDS, side="right")) - 1
        if last < first:  # between two pictures: the nearest
            first = last = int(np.abs(self.times - (start + end) / 2).argmin())
        return self._first_tick(first), max(self._last_tick(last), self._first_tick(first))

    def to_seconds(self, ticks: Ticks) -> tuple[float, float]:
        """[start, end] on a player's clock: the times of the first and the last picture that the ticks show.

        They are given in milliseconds, rounded outwards, so that both pictures are inside. Of one picture alone, the
        end is half the way to the next one.
        """
        first, last = self._picture(ticks[0]), self._picture(ticks[1])
        start, end = float(self.times[first]), float(self.times[last])
        if first == last:
            end += self._step(last) / 2
        return _ms(start + self.shift, math.floor), _ms(end + self.shift, math.ceil)

    def moment(self, tick: int) -> float:
        """When the picture of a tick is shown, in seconds on a player's clock."""
        return round(float(self.times[self._picture(tick)]) + self.shift, 3)

    def _picture(self, tick: int) -> int:
        """Which picture a tick shows; the last one for ticks behind it, which a longer sound track makes."""
        if self.even:
            return min(max(tick - 1, 0), len(self.times) - 1)
        seconds = (tick - 1) / self.rate + PLAYER_SECONDS
        return max(int(np.searchsorted(self.times, seconds, side="right")) - 1, 0)

    def _first_tick(self, picture: int) -> int:
        if self.even:
            return picture + 1
        return max(math.ceil((float(self.times[picture]) - PLAYER_SECONDS) * self.rate - 1e-6) + 1, 1)

    def _last_tick(self, picture: int) -> int:
        if self.even or picture == len(self.times) - 1:
            return self._first_tick(picture)
        return max(self._first_tick(picture + 1) - 1, self._first_tick(picture))

    def _step(self, picture: int) -> float:
        if picture + 1 < len(self.times):
            return float(self.times[picture + 1] - self.times[picture])
        return 1 / self.rate

    def as_json(self) -> dict[str, Any]:
        """What a task carries: of even rulers rate and number of pictures, of others every time."""
        times = len(self.times) if self.even else [round(float(time), 4) for time in self.times]
        return {"rate": self.rate, "pictures": times, "shift": self.shift}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Ruler:
        """Raises KeyError, TypeError or ValueError for what `as_json` did not write."""
        rate, pictures, shift = float(value["rate"]), value["pictures"], float(value["shift"])
        even = isinstance(pictures, int)
        times = np.arange(pictures) / rate if even else np.array(pictures, dtype=float)
        finite = np.isfinite([rate, shift, *times]).all()
        if not finite or rate <= 0 or not len(times) or (np.diff(times) < 0).any():
            raise ValueError("no times of pictures")
        return cls(rate, times, even, shift)


def ruler_of(times: np.ndarray, late: float = 0.0, shift: float = 0.0) -> Ruler:
    """The time line for pictures `times` (n,) seconds after the first, which is shown `late` seconds after 0 s.

    `shift` as in `Ruler`.
    """
    for rate in _likely_rates(times):
        grid = np.arange(len(times)) / rate
        if not late and SLOWEST <= rate <= FASTEST and np.abs(times - grid).max() <= EVEN_SECONDS:
            return Ruler(rate, grid, True, shift)
    return Ruler(UNEVEN_RATE, times + late, False, shift)


def _likely_rates(times: np.ndarray) -> list[float]:
    """The mean rate of pictures, behind what encoders write where that is near: whole numbers and those / 1.001."""
    if len(times) < 2 or times[-1] <= 0:
        return [UNEVEN_RATE]
    mean = (len(times) - 1) / float(times[-1])
    usual = [float(round(mean)), round(mean * 1.001) / 1.001]
    return [rate for rate in usual if abs(rate - mean) < 0.01] + [mean]


def _ms(seconds: float, rounding: Any) -> float:
    near = round(seconds * _MS)
    exact = abs(seconds * _MS - near) < 1e-3
    return (near if exact else rounding(seconds * _MS)) / _MS


def to_per_cents(box: Box, size: tuple[int, int]) -> dict[str, float] | None:
    """The part of a box (x, y, w, h in px) inside a picture of (width, height) px; None where there is none."""
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[0] + box[2], size[0]), min(box[1] + box[3], size[1])
    if right <= left or bottom <= top:
        return None
    return {
        "x": 100 * left / size[0],
        "y": 100 * top / size[1],
        "width": 100 * (right - left) / size[0],
        "height": 100 * (bottom - top) / size[1],
    }


def to_pixels(value: dict[str, Any], size: tuple[int, int]) -> Box:
    """x, y, w, h in px out of per cents of a picture of (width, height) px. Raises KeyError or TypeError."""
    x, y = value["x"] / 100 * size[0], value["y"] / 100 * size[1]
    return x, y, value["width"] / 100 * size[0], value["height"] / 100 * size[1]
