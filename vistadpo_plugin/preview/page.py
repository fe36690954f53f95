"""The page: one HTML file with everything in it, no script, nothing fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from PIL import Image

from vistadpo_plugin.arguments import TERMS
from vistadpo_plugin.data.rows.values import VIDEO_PLACEHOLDER
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
from vistadpo_plugin.preview.timeline import make_timeline

_JPEG_QUALITY = 90


def render_page(cards: Sequence[Card], settings: PreviewSettings, total: int) -> str:
    """The page of these rows, which are some of `total`."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters["percent"] = _percent
    here = resources.files(__package__)
    template = environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        css=here.joinpath("page.css").read_text(encoding="utf-8"),
        settings=settings,
        total=total,
        cards=[_context(card, settings) for card in cards],
        titles=TITLES,
        placeholder=VIDEO_PLACEHOLDER,
    )


def _context(card: Card, settings: PreviewSettings) -> dict[str, Any]:
    """What the template says of one row."""
    candidate, shown = card.candidate, card.shown
    context: dict[str, Any] = {"candidate": candidate, "error": card.error, "shown": shown}
    context["texts"] = list_texts(candidate.row)
    if shown is None:
        return context
    return context | {
        "terms": [(term, shown.off.get(term), describe_term(term, shown, settings.view_keys)) for term in TERMS],
        "timeline": make_timeline(shown),
        "levels": [
            {
                "name": term,
                "off": shown.off.get(term),
                "views": [
                    _view(shown.views[name], side, shown, settings)
                    for name, side in ((preferred, "preferred"), (rejected, "rejected"))
                    if name in shown.views
                ],
            }
            for term, preferred, rejected in LEVELS
        ],
    }


def _view(view: ShownView, side: str, shown: ShownRow, settings: PreviewSettings) -> dict[str, Any]:
    size = view.frames[0].image.size
    square = seen_square(size) if settings.crop and size[0] != size[1] else None
    marked = view.name == KEYFRAME or view.made in SAME_FRAME
    return {
        "name": view.name,
        "side": side,
        "about": describe_view(view, shown, settings.view_keys),
        "warning": describe_unseen(shown, settings.crop) if view.name == KEYFRAME else None,
        "shape": "single" if view.name in (KEYFRAME, KEYFRAME_NEGATIVE) else "many" if len(view.frames) > 8 else "few",
        "size": size,
        "square": square,
        "boxes": _box_shares(shown) if marked else [],
        "masked": view.made is not None,
        "frames": [(_data_uri(frame.image), frame_caption(frame, view)) for frame in view.frames],
    }


def _box_shares(shown: ShownRow) -> list[tuple[float, float, float, float]]:
    """(left, top, width, height) of the boxes as shares of the frame."""
    width, height = shown.grounded.frame_size
    return [(x / width, y / height, w / width, h / height) for x, y, w, h in shown.grounded.boxes]


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _percent(share: float) -> str:
    """A share as CSS takes it."""
    return f"{share * 100:.4f}%"
