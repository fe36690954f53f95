"""The host's multimodal plugin of a template, exchanged for one that works with a family under transformers 5."""

from __future__ import annotations

from typing import Any

from vistadpo_plugin.models.exact_frames import ExactFramesPlugin
from vistadpo_plugin.models.family import Family
from vistadpo_plugin.models.frame_times import keep_frame_times


def mended(plugin: Any, family: Family) -> Any:
    """What takes the place of the host's `plugin`: itself for a family that it serves right."""
    if family.exact_frames:
        plugin = ExactFramesPlugin(plugin.image_token, plugin.video_token, plugin.audio_token, family=family)
    if family.tells_time:
        plugin = keep_frame_times(plugin)
    return plugin if family.mend is None else family.mend(plugin)
