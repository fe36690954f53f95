"""How many frames and tokens the views of a model have."""

from __future__ import annotations

import functools
from typing import Any

from vistadpo_plugin.data.video.settings import video_settings
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import ViewBuilder


class FrameCounts:
    """What is known of that without decoding; `plugin` is the template's multimodal plugin, `processor` the model's."""

    def __init__(self, plugin: Any, processor: Any, view_keys: ViewKeys):
        self.plugin, self.processor, self.view_keys = plugin, processor, view_keys
        self.fixed = plugin.fixed_frames(processor) if hasattr(plugin, "fixed_frames") else None
        self.sampling = getattr(plugin, "sampling", "ends")

    @property
    def video_fps(self) -> float:
        """At how many images a second a folder of frames is shown."""
        return video_settings(self.processor)["video_fps"]

    def builder(self, seed: int) -> ViewBuilder:
        """The view builder of this model, with the host's own resizing of video frames."""
        settings = video_settings(self.processor)
        shrink = functools.partial(self.plugin._preprocess_image, **settings)
        fps, maxlen = settings["video_fps"], settings["video_maxlen"]
        return ViewBuilder(self.view_keys, fps, maxlen, self.fixed, shrink, seed, self.sampling)

    def per_view(self) -> dict[str, int | None]:
        """Frames of the views that the terms look at; None where they depend on the video."""
        terms, frames = self.view_keys.terms, {}
        if {"response", "video", "token"} & set(terms):
            frames["full video"] = self.fixed
        if "clip" in terms:
            frames["clip"] = self.view_keys.clip_frames or self.fixed
        if {"object", "token"} & set(terms):
            frames["keyframe"] = 1
        return frames

    def tokens(self, frames: int) -> int | None:
        """Tokens of a video of so many frames, None for families where they depend on the picture."""
        known = hasattr(self.plugin, "video_tokens") and self.processor is not None
        return self.plugin.video_tokens(self.processor, frames) if known else None

    def describe(self) -> dict[str, str]:
        """Frames and tokens of every view in words, for the summary."""
        described = {}
        for view, frames in self.per_view().items():
            tokens = None if frames is None else self.tokens(frames)
            counted = "frames by video_fps and video_maxlen" if frames is None else plural(frames, "frame")
            described[view] = counted if tokens is None else f"{counted}, {tokens} video tokens"
        return described


def plural(count: int, noun: str) -> str:
    """1 frame, 8 frames."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
