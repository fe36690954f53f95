"""The host reads videos as they are stored: where it does that by itself (plain stages), its log says so once."""

from __future__ import annotations

import functools
import os
from typing import Any

from llamafactory.data.mm_plugin import MMPluginMixin
from llamafactory.extras import logging

from vistadpo_plugin.data.video.video import VideoError, is_shown_otherwise

logger = logging.get_logger("llamafactory.vistadpo")


def say_as_stored() -> None:
    """From now on the first video that the host reads otherwise than players show it is named, once a process."""
    sample = MMPluginMixin._get_video_sample_indices
    said = False

    @functools.wraps(sample)
    def sample_and_say(self: Any, video_stream: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal said
        if not said and _read_as_stored(video_stream.container.name):
            said = True
            logger.warning_rank0(
                f"{video_stream.container.name} is turned or mirrored by its header, or its pixels are not square. "
                "LLaMA-Factory reads such videos as they are stored, also in this run; `stage: vistadpo`, chat and the "
                "API show them to the model as players do."
            )
        return sample(self, video_stream, *args, **kwargs)

    MMPluginMixin._get_video_sample_indices = sample_and_say


def _read_as_stored(path: str) -> bool:
    if not os.path.isfile(path):  # an open file, say
        return False
    try:
        return is_shown_otherwise(path)
    except VideoError:
        return False  # whether the host can read it is seen in a moment
