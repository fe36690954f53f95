"""How the boxes of a whole data set seem to be written. A single box that is read wrong may be a right one."""

from __future__ import annotations

from collections.abc import Iterable

from vistadpo_plugin.data.rows.grounding import GroundedRow

SHARES, CORNERS = "shares", "corners"

_LEAST = 8  # boxes, before corners are seen in them
_NEARLY_ALL, _MANY = 0.95, 0.25
_PIXEL = 1.0  # what rounding may add


def box_style(rows: Iterable[GroundedRow | None]) -> tuple[str, str] | None:
    """(SHARES or CORNERS, a sentence on why) where boxes look like that, else None. They should be pixels
    [x, y, width, height].

    Shares are boxes in the unit square. Corners [x1, y1, x2, y2], read as width and height, have x < w and y < h,
    w and h inside of the frame, and many reach over its edge; where no frame is known they cannot be told.
    """
    drawn = [(box, row.frame_size) for row in rows if row is not None for box in row.drawn]
    shares = sum(0 <= x and 0 <= y and max(x, y, w, h) <= 1 for (x, y, w, h), _ in drawn)
    if drawn and shares >= _NEARLY_ALL * len(drawn):
        return SHARES, (
            f"no number of {shares} of {len(drawn)} boxes is above 1: they look like shares of the frame, and are "
            "read as pixels"
        )
    known = [(box, size) for box, size in drawn if all(size)]
    like = sum(x < w <= width + _PIXEL and y < h <= height + _PIXEL for (x, y, w, h), (width, height) in known)
    over = sum(x + w > width + _PIXEL or y + h > height + _PIXEL for (x, y, w, h), (width, height) in known)
    if len(known) >= _LEAST and like >= _NEARLY_ALL * len(known) and over >= _MANY * len(known):
        return CORNERS, (
            f"{over} of {len(known)} boxes reach over the edge of the frame, and in {like} the last two numbers are a "
            "point inside of it, below and right of the first two: they look like corners [x1, y1, x2, y2], and are "
            "read as [x, y, width, height]"
        )
    return None
