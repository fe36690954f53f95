"""What drafting will ask for, before anything is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vistadpo_plugin.annotation.drafting import checks
from vistadpo_plugin.annotation.drafting.draft import Settings, plan
from vistadpo_plugin.annotation.drafting.footage import Footage, shown_frames
from vistadpo_plugin.annotation.drafting.pictures import sent_size
from vistadpo_plugin.annotation.drafting.prompts import PromptPack
from vistadpo_plugin.annotation.drafting.reply import schema
from vistadpo_plugin.annotation.drafting.talk import TRIES
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.endpoint import Spent

TOKEN_PIXELS = 28  # a token of Qwen-VL is so many pixels wide and high
_LETTERS_A_TOKEN = 4
# Tokens that replies take.
_DRAFT, _BOX, _LETTER = 220, 30, 2


@dataclass(frozen=True)
class Price:
    """Of a million tokens, in whatever currency; None where it is not known."""

    tokens_in: float | None = None
    tokens_out: float | None = None

    def of(self, tokens_in: int, tokens_out: int) -> float | None:
        if self.tokens_in is None and self.tokens_out is None:
            return None
        return (tokens_in * (self.tokens_in or 0.0) + tokens_out * (self.tokens_out or 0.0)) / 1e6


@dataclass
class Estimate:
    """Requests, pictures and tokens where every first reply can be used and every check is made in full."""

    videos: int = 0
    drafts: int = 0
    draft_requests: int = 0
    check_requests: int = 0
    frames: int = 0
    video_bytes: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def format(self, price: Price, kept: Spent) -> str:
        """For people, before they decide."""
        requests = self.draft_requests + self.check_requests
        whole = f", and {self.video_bytes / 1e6:.1f} MB of whole videos" if self.video_bytes else ""
        lines = [
            f"{plural(self.videos, 'video')}, {plural(self.drafts, 'draft')}",
            f"  requests  {requests}: {self.draft_requests} for drafts, {self.check_requests} to check them; "
            f"{TRIES} times as many if no first or second reply can be used",
            f"  frames    {self.frames}{whole}",
            f"  tokens    about {_rounded(self.tokens_in)} in and {_rounded(self.tokens_out)} out, "
            f"where a frame takes a token every {TOKEN_PIXELS}x{TOKEN_PIXELS} pixels (as with Qwen-VL)"
            + ("; whole videos are not counted" if whole else ""),
        ]
        cost = price.of(self.tokens_in, self.tokens_out)
        if cost is not None:
            lines.append(f"  cost      about {cost:.2f}")
        if kept.replies:
            lines.append(f"  kept      {format_spent(kept, price)} from before; what they answer is not asked again")
        return "\n".join(lines)


def _rounded(tokens: int) -> str:
    return f"{tokens / 1e6:.1f} million" if tokens >= 1e6 else f"{math.ceil(tokens / 1000) * 1000:,}"


def format_spent(spent: Spent, price: Price) -> str:
    """What was asked so far, in a few words."""
    noun = "reply" if spent.replies == 1 else "replies"
    words = f"{spent.replies} {noun}, {spent.tokens_in:,} tokens in, {spent.tokens_out:,} out"
    if spent.unknown:
        words += f" ({spent.unknown} did not say)"
    cost = price.of(spent.tokens_in, spent.tokens_out)
    return words if cost is None else f"{words}, cost {cost:.2f}"


def estimate(footages: Sequence[Footage], pack: PromptPack, settings: Settings) -> Estimate:
    """For these videos, as `draft` and `checks` ask about them."""
    made = Estimate(videos=len(footages))
    asked = len(pack.texts["system"]) + len(pack.texts["draft"]) + len(json.dumps(schema("drafts", "")))
    located = len(pack.texts["system"]) + len(pack.texts["locate"]) + len(json.dumps(schema("box", "")))
    chosen = len(pack.texts["system"]) + len(pack.texts["choose"]) + 200  # question and answers
    for footage in footages:
        width, height = sent_size(footage.size, settings.side)
        a_frame = math.ceil(width / TOKEN_PIXELS) * math.ceil(height / TOKEN_PIXELS)
        for stretch in plan(footage, settings):
            frames = 0 if settings.whole else len(shown_frames(footage, stretch, settings.frames))
            made.draft_requests += 1
            made.drafts += stretch.drafts
            made.frames += frames
            made.video_bytes += Path(footage.path).stat().st_size if settings.whole else 0
            label = len(pack.texts["frame"]) // _LETTERS_A_TOKEN
            made.tokens_in += frames * (a_frame + label) + asked // _LETTERS_A_TOKEN
            made.tokens_out += stretch.drafts * _DRAFT
        if settings.ask_back:
            views, looks = 4 * settings.drafts, min(checks.FRAMES, len(footage.times))
            made.check_requests += views + settings.drafts
            made.frames += views * looks + settings.drafts
            made.tokens_in += views * (looks * a_frame + chosen // _LETTERS_A_TOKEN)
            made.tokens_in += settings.drafts * (a_frame + located // _LETTERS_A_TOKEN)
            made.tokens_out += views * _LETTER + settings.drafts * _BOX
    return made
