"""One row as a picture (PNG), for a report or a talk: what the page shows of it, drawn with PIL.

Letters that DejaVu Sans lacks (Chinese, say) come out as boxes here; the page has them all.
"""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from vistadpo_plugin.arguments import TERMS
from vistadpo_plugin.data.views.negatives import scaled_boxes
from vistadpo_plugin.data.views.views import KEYFRAME, KEYFRAME_NEGATIVE
from vistadpo_plugin.preview.captions import (
    LEVELS,
    TITLES,
    describe_term,
    describe_unseen,
    describe_view,
    frame_caption,
    list_texts,
    seen_square,
)
from vistadpo_plugin.preview.cards import Card
from vistadpo_plugin.preview.settings import PreviewSettings
from vistadpo_plugin.preview.shown import SAME_FRAME, ShownRow, ShownView
from vistadpo_plugin.preview.timeline import Timeline, make_timeline

Colour = tuple[int, int, int]

WIDTH, MARGIN, GAP = 1600, 48, 40
COLUMN = (WIDTH - 2 * MARGIN - GAP) // 2
LABEL = 120
KEYFRAME_WIDTH = 560

PAPER, TEXT, MUTED, LINE = (255, 255, 255), (27, 29, 32), (101, 106, 112), (223, 224, 221)
PREFERRED, REJECTED, IRRELEVANT = (22, 121, 74), (192, 57, 47), (138, 97, 0)
EVENT, OUTSIDE, BOX, MASK = (218, 228, 251), (248, 226, 223), (255, 179, 0), (255, 255, 255)
ANSWERS = {"prompt": TEXT, "chosen": PREFERRED, "rejected": REJECTED, "irrelevant": IRRELEVANT}
DIMMED = 0.38


@functools.cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name), size)


class _Pen:
    """Writes from top to bottom; `y` is where the next thing goes."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.y = MARGIN

    def text(self, x: int, y: int, text: str, colour: Colour, size: int = 19, bold: bool = False) -> None:
        """One line."""
        self.draw.text((x, y), text, colour, _font(size, bold))

    def paragraph(self, x: int, text: str, colour: Colour, width: int, size: int = 19, bold: bool = False) -> None:
        """As many lines as `width` asks for; moves down behind them."""
        for line in _wrap(text, width, _font(size, bold)):
            self.text(x, self.y, line, colour, size, bold)
            self.y += round(size * 1.45)

    def rule(self) -> None:
        self.y += 18
        self.draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), LINE)
        self.y += 22


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Lines of at most `width` pixels, broken at spaces where there are any."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for piece in re.findall(r"\S+ *| +", paragraph):
            if line and font.getlength(line + piece.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
            while font.getlength(line.rstrip()) > width:  # a word too long for any line
                fitting = next(n for n in range(len(line), 0, -1) if n == 1 or font.getlength(line[:n]) <= width)
                lines.append(line[:fitting])
                line = line[fitting:]
        lines.append(line.rstrip())
    return lines


def draw_sheet(card: Card, settings: PreviewSettings) -> bytes:
    """PNG of one row, as tall as it takes."""
    height = _draw(card, settings, 1).y + MARGIN // 2  # what is drawn below the lower edge is lost, but measured
    buffer = io.BytesIO()
    _draw(card, settings, height).image.save(buffer, "PNG")
    return buffer.getvalue()


def _draw(card: Card, settings: PreviewSettings, height: int) -> _Pen:
    pen = _Pen(height)
    candidate, shown = card.candidate, card.shown
    pen.paragraph(MARGIN, candidate.id or candidate.place, TEXT, WIDTH - 2 * MARGIN, 30, bold=True)
    if candidate.id is not None:
        pen.paragraph(MARGIN, candidate.place, MUTED, WIDTH - 2 * MARGIN)
    pen.y += 10
    if shown is not None:
        _draw_terms(pen, shown, settings)
    pen.y += 14
    if card.error is not None:
        pen.paragraph(MARGIN, f"This row cannot be used. {card.error}", REJECTED, WIDTH - 2 * MARGIN)
        pen.y += 14
    for name, text in list_texts(candidate.row).items():
        top = pen.y
        colour = ANSWERS[name.partition("[")[0]]
        pen.text(MARGIN + 16, pen.y + 1, name, colour if name != "prompt" else MUTED, 17)
        pen.paragraph(MARGIN + 16 + LABEL, text, colour, WIDTH - 2 * MARGIN - LABEL, 20, bold=name == "prompt")
        pen.draw.rectangle((MARGIN, top, MARGIN + 3, pen.y - 6), LINE if name == "prompt" else colour)
        pen.y += 4
    if shown is None:
        return pen
    timeline = make_timeline(shown)
    if timeline is not None:
        pen.y += 18
        _draw_timeline(pen, timeline)
    for term, *names in LEVELS:
        views = [shown.views[name] for name in names if name in shown.views]
        if views:
            pen.rule()
            _draw_level(pen, views, shown, settings, shown.off.get(term) and f"no {term} pair: {shown.off[term]}")
    for note in shown.grounded.notes:
        pen.paragraph(MARGIN, note, MUTED, WIDTH - 2 * MARGIN, 16)
    return pen


def _draw_terms(pen: _Pen, shown: ShownRow, settings: PreviewSettings) -> None:
    x = MARGIN
    for term in TERMS:
        off = shown.off.get(term)
        about = describe_term(term, shown, settings.view_keys)
        text = f"{term}: {off}" if off else f"{term} {about or ''}".strip()
        width = round(_font(17).getlength(text)) + 24
        if x + width > WIDTH - MARGIN:
            x, pen.y = MARGIN, pen.y + 38
        box = (x, pen.y, x + width, pen.y + 30)
        pen.draw.rounded_rectangle(box, 15, None if off else (241, 241, 238), LINE)
        pen.text(x + 12, pen.y + 5, text, MUTED if off else TEXT, 17)
        x += width + 10
    pen.y += 36


def _draw_timeline(pen: _Pen, line: Timeline) -> None:
    left, width, height = MARGIN + LABEL + 16, WIDTH - 2 * MARGIN - LABEL - 24, 28

    def x(seconds: float) -> int:
        return left + round(line.share(seconds) * width)

    bottom = pen.y + height * len(line.lanes)
    if line.outside is not None:
        pen.draw.rectangle((x(line.outside[0]), pen.y, x(line.outside[1]), bottom), OUTSIDE)
    for start, end in line.events:
        pen.draw.rectangle((x(start), pen.y, x(end), bottom), EVENT)
    for name, times in line.lanes.items():
        middle = pen.y + height // 2
        pen.text(MARGIN, middle - 11, TITLES[name], MUTED, 16)
        pen.draw.line((left, middle, left + width, middle), LINE)
        for at in map(x, times):
            if name == KEYFRAME:
                pen.draw.polygon([(at, middle - 9), (at + 9, middle), (at, middle + 9), (at - 9, middle)], PREFERRED)
            else:
                colour = REJECTED if name.endswith("negative") else PREFERRED
                pen.draw.rounded_rectangle((at - 2, middle - 9, at + 2, middle + 9), 2, colour)
        pen.y += height
    for tick in line.ticks:
        pen.draw.text((x(tick), pen.y + 6), f"{tick:g} s", MUTED, _font(15), anchor="ma")
    pen.y += 26


def _draw_level(
    pen: _Pen, views: Sequence[ShownView], shown: ShownRow, settings: PreviewSettings, missing: str | None
) -> None:
    """The views of a level side by side, or the reason why there is only one."""
    top, ends = pen.y, []
    for column, view in enumerate(views):
        x, pen.y = MARGIN + column * (COLUMN + GAP), top
        colour = REJECTED if view.name.endswith("negative") else PREFERRED
        pen.text(x, pen.y, TITLES[view.name], colour, 20, bold=True)
        pen.y += 28
        pen.paragraph(x, describe_view(view, shown, settings.view_keys), MUTED, COLUMN, 16)
        ends.append(pen.y)
    header = max(ends) + 8
    ends = [_draw_frames(pen, view, MARGIN + column * (COLUMN + GAP), header, shown, settings)
            for column, view in enumerate(views)]  # fmt: skip
    if len(views) == 1 and missing:
        pen.text(MARGIN + COLUMN + GAP, header, missing, MUTED, 16)
    pen.y = max(ends)


def _draw_frames(pen: _Pen, view: ShownView, x: int, y: int, shown: ShownRow, settings: PreviewSettings) -> int:
    """The contact sheet of a view with its top left corner at (x, y); returns its lower edge."""
    single = view.name in (KEYFRAME, KEYFRAME_NEGATIVE)
    columns = 1 if single else 4 if len(view.frames) <= 8 else 6
    width = KEYFRAME_WIDTH if single else (COLUMN - 8 * (columns - 1)) // columns
    original = view.frames[0].image.size
    height = round(width * original[1] / original[0])
    for number, frame in enumerate(view.frames):
        left, top = x + number % columns * (width + 8), y + number // columns * (height + 32)
        picture = frame.image.resize((width, height), Image.Resampling.LANCZOS)
        if settings.crop:
            picture = _dimmed(picture)
        if view.name == KEYFRAME or view.made in SAME_FRAME:
            _outline(picture, shown, BOX if view.made is None else MASK)
        pen.image.paste(picture, (left, top))
        pen.text(left, top + height + 4, frame_caption(frame, view), MUTED, 14)
    bottom = y + -(-len(view.frames) // columns) * (height + 32)
    warning = describe_unseen(shown, settings.crop) if view.name == KEYFRAME else None
    if warning is not None:
        pen.text(x, bottom, warning, REJECTED, 16)
        bottom += 26
    return bottom


def _dimmed(picture: Image.Image) -> Image.Image:
    """The picture with what lies outside the centre square darkened."""
    width, height = picture.size
    left, top, wide, high = seen_square(picture.size)
    square = (round(left * width), round(top * height), round((left + wide) * width), round((top + high) * height))
    dark = picture.point(lambda value: round(value * DIMMED))
    dark.paste(picture.crop(square), square)
    return dark


def _outline(picture: Image.Image, shown: ShownRow, colour: Colour) -> None:
    draw = ImageDraw.Draw(picture)
    for corners in scaled_boxes(shown.grounded.boxes, shown.grounded.frame_size, picture.size):
        left, top, right, bottom = corners
        draw.rectangle((left - 1, top - 1, right, bottom), None, (0, 0, 0), 1)
        draw.rectangle((left, top, right - 1, bottom - 1), None, colour, 2)
