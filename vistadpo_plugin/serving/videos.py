"""Videos that come with a question to the host's chat model: read as training reads them."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.data.video.video import VideoError, images_in
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import FULL, SampledFrames, ViewBuilder


class FrameFolder(str):
    """A folder of frames that passes for its first image: what the host checks of a file, it checks of that one."""

    images: tuple[str, ...]

    def __new__(cls, folder: str) -> FrameFolder:
        """Raises VideoError for a folder without images."""
        images = images_in(folder)
        if not images:
            raise VideoError(f"the folder {folder} holds no images.")
        made = super().__new__(cls, images[0])
        made.images = images
        return made


def read_videos(videos: list[Any] | None, plugin: Any, processor: Any) -> list[Any] | None:
    """Each video as the frames that training takes of it; `plugin` is the template's multimodal plugin.

    A video is a path, a folder of frames, a list of the paths of frames (shown at `video_fps`, as in training), or an
    open binary file. Frames that are sampled already, and lists of images in memory, stay as they are. Raises
    ValueError where the model takes no videos, and for a video that cannot be read.
    """
    if not videos:
        return videos
    plugin._validate_input(processor, [], videos, [])
    builder = FrameCounts(plugin, processor, ViewKeys.of(VistaArguments())).builder(seed=0)
    return [_read(video, builder) for video in videos]


def _read(video: Any, builder: ViewBuilder) -> Any:
    if isinstance(video, str) and os.path.isdir(video):
        video = FrameFolder(video)
    if isinstance(video, FrameFolder):
        return _full_view(video.images, builder)
    if isinstance(video, str):
        return _full_view(video, builder)
    if isinstance(video, list | tuple):
        of_paths = bool(video) and all(isinstance(frame, str) for frame in video)
        return _full_view(tuple(video), builder) if of_paths else video
    if hasattr(video, "read"):
        # Several threads read at different places of a video, which a stream cannot give.
        with tempfile.NamedTemporaryFile() as file:
            file.write(video.read())
            file.flush()
            try:
                return _full_view(file.name, builder)
            except VideoError as error:
                raise VideoError(str(error).replace(file.name, "(as it was sent)")) from None
    return video


def _full_view(video: str | tuple[str, ...], builder: ViewBuilder) -> SampledFrames:
    try:
        return builder.build(GroundedRow("", "", video), None, {FULL})[FULL]
    except RowError as error:
        raise VideoError(error.message) from None


def refuse_too_long(model: Any, processor: Any, tokens: int) -> None:
    """Raise ValueError where a prompt of so many tokens, with videos, has no room in the model's positions."""
    text = model.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or {}
    if positions is None or rope.get("rope_type", "default") != "default" or tokens < positions:
        return
    raise ValueError(
        f"the question takes {tokens} tokens with its videos, and the model has {positions} positions. "
        f"`video_maxlen` is {getattr(processor, 'video_maxlen', 128)} frames: set it, and `video_fps`, as in training."
    )
