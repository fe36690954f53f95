"""How a recipe wants its videos: frames a second, frames at most, pixels of a frame."""

from __future__ import annotations

from typing import Any


def video_settings(processor: Any) -> dict[str, Any]:
    """The recipe's keys for videos as the host leaves them on the processor; its defaults where there is none.

    Named as the host's `_regularize_videos` and `_preprocess_image` take them.
    """
    return {
        "image_max_pixels": getattr(processor, "video_max_pixels", 256 * 256),
        "image_min_pixels": getattr(processor, "video_min_pixels", 16 * 16),
        "video_fps": getattr(processor, "video_fps", 2.0),
        "video_maxlen": getattr(processor, "video_maxlen", 128),
    }
