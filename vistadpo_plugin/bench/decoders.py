"""Other ways of decoding some frames of a file, as far as they are installed: neither is needed for training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Decode = Callable[[str, list[int]], np.ndarray]
"""A file and indices of frames, ascending -> their pictures (n, height, width, 3), uint8 RGB. On one thread."""


def _torchcodec() -> Decode:
    from torchcodec.decoders import VideoDecoder

    def decode(path: str, indices: list[int]) -> np.ndarray:
        decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
        return decoder.get_frames_at(indices).data.numpy()

    return decode


def _decord() -> Decode:
    import decord

    def decode(path: str, indices: list[int]) -> np.ndarray:
        return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()

    return decode


def _ours() -> Decode:
    from vistadpo_plugin.data.video.video import FrameSource

    def decode(path: str, indices: list[int]) -> np.ndarray:
        _, frames = FrameSource(path, 1.0).read(lambda times: set(indices), np.asarray)
        return np.stack([frames[index] for index in indices])

    return decode


OURS = "ours"
_DECODERS = {OURS: _ours, "torchcodec": _torchcodec, "decord": _decord}


def installed() -> tuple[dict[str, Decode], dict[str, str]]:
    """The decoders that can be used here by name, and of the others why not."""
    found, absent = {}, {}
    for name, load in _DECODERS.items():
        try:
            found[name] = load()
        except ImportError:
            absent[name] = "not installed"
        except (OSError, RuntimeError) as error:  # FFmpeg's libraries are missing, or of another version
            absent[name] = f"cannot be loaded: {(str(error).strip() or repr(error)).splitlines()[0]}"
    return found, absent
