"""Families that are told when a frame was shown: Qwen2.5-VL by its position ids, Qwen3-VL and 3.5 in words as well.

The host knows the times of a video that it reads itself. Views come to it as lists of frames, which it takes for frames
at `video_fps`, whatever their distance; here they keep the times of the video they were taken from, counted as the host
counts them. A full view then has the positions and words of plain DPO, to the last bit. A clip is a video of its own:
its first frame is at 0 s.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

from llamafactory.data.mm_plugin import BasePlugin, Qwen2VLPlugin, Qwen3VLPlugin

from vistadpo_plugin.data.video.packets import open_video, video_stream
from vistadpo_plugin.data.views.views import SampledFrames


@dataclass(frozen=True)
class _Header:
    """What a file's header says: frames a second, how many, and seconds in all (None: it does not say)."""

    rate: float
    frames: int
    seconds: float | None


class _FrameTimes:
    """In front of one of the host's plugins."""

    def _regularize_videos(self, videos: list[Any], **kwargs: Any) -> dict[str, list]:
        """The host's, on copies (it lengthens a list of frames in place where their number is odd)."""
        copies = [list(video) if isinstance(video, SampledFrames) else video for video in videos]
        made = super()._regularize_videos(copies, **kwargs)
        for number, video in enumerate(videos):
            if isinstance(video, SampledFrames) and video.source is not None:
                fps = kwargs["video_fps"]
                made["frames_indices"][number] = _frame_numbers(video, fps)
                made["fps_per_video"][number] = _frames_a_second(video)
                made["durations"][number] = len(video) / made["fps_per_video"][number]
        return made

    def _get_qwen_video_stream_metadata(self, video: Any, video_fps: float, video_maxlen: int) -> dict | None:
        """The host's, from which it counts tokens; it knows them of a view's frames too, so no pixel is processed."""
        if not isinstance(video, SampledFrames):
            return super()._get_qwen_video_stream_metadata(video, video_fps, video_maxlen)
        if video.source is None or isinstance(video.source.video, tuple):
            return None
        width, height = video[0].size
        numbers = [index - video.indices[0] for index in video.indices]
        rate = _header(video.source.video).rate
        return {"width": width, "height": height, "average_fps": rate, "sample_indices": numbers}

    def get_mm_inputs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The host's, for the model alone: what a prompt says of the times is no tensor, and the host's chat fails."""
        inputs = super().get_mm_inputs(*args, **kwargs)
        inputs.pop("video_metadata", None)
        return inputs


def _frame_numbers(video: SampledFrames, fps: float) -> list[float]:
    """When each frame was shown after the first, in frames of a video of `fps` frames a second."""
    numbers = [index - video.indices[0] for index in video.indices]
    if isinstance(video.source.video, tuple):
        return [number * (fps / video.source.images_fps) for number in numbers]
    rate = _header(video.source.video).rate
    return [number / rate * fps for number in numbers]  # rounds as the host does


def _frames_a_second(video: SampledFrames) -> float:
    """Frames of the view over the seconds from its first frame to the end of its last."""
    span = video.indices[-1] - video.indices[0] + 1
    if isinstance(video.source.video, tuple):
        return len(video) / span * video.source.images_fps
    header = _header(video.source.video)
    whole = span == header.frames and header.seconds is not None
    return len(video) / (header.seconds if whole else span / header.rate)


def _header(path: str) -> _Header:
    status = os.stat(path)
    return _read_header(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(512)
def _read_header(path: str, size: int, modified: int) -> _Header:
    with open_video(path) as container:
        stream = video_stream(container, path)
        seconds = None if stream.duration is None else float(stream.duration * stream.time_base)
        return _Header(float(stream.average_rate), stream.frames, seconds)


@dataclass
class TimedQwen2VLPlugin(_FrameTimes, Qwen2VLPlugin):
    """For Qwen2-VL, which counts frames, and Qwen2.5-VL, which counts seconds."""


@dataclass
class TimedQwen3VLPlugin(_FrameTimes, Qwen3VLPlugin):
    """For Qwen3-VL and Qwen3.5, whose prompts name the second of every pair of frames."""


def keep_frame_times(plugin: BasePlugin) -> BasePlugin:
    """The plugin that knows the times of views, in the place of the host's `plugin`."""
    if isinstance(plugin, _FrameTimes):
        return plugin
    made = TimedQwen3VLPlugin if isinstance(plugin, Qwen3VLPlugin) else TimedQwen2VLPlugin
    return made(plugin.image_token, plugin.video_token, plugin.audio_token, plugin.expand_mm_tokens)
