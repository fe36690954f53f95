"""Decoding some frames of a video file, bit for bit what decoding all of it gives, at a fraction of the work.

`decode_some` decodes, for each wanted frame, from the last packet before it at which decoding may begin, and leaves out
what is neither wanted nor needed. `decode_all` decodes everything from the start, and says what is true where the two
differ: `decode_some` gives up (None) on whatever it cannot vouch for. Damage in a stretch that nobody asked for goes
unnoticed by it.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from threading import Lock
from typing import Any

import av
import numpy as np
from PIL import Image

from vistadpo_plugin.data.video.packets import (
    AV_ERRORS,
    Packets,
    VideoError,
    decoder_options,
    open_video,
    video_stream,
)
from vistadpo_plugin.data.video.upright import OddTurn, pixel_shape, upright

# Gaps of fewer packets are read through: a jump inside the file costs about as much.
_SEEK_PACKETS = 64

# Fewer packets are not worth opening the file once more for another thread, which costs about as much as ten.
_SHARE_PACKETS = 100

Keep = Callable[[Image.Image], Any]
"""Turns a decoded frame into what is kept of it, resized say, so that large frames do not pile up."""


def decode_all(path: str, wanted: set[int] | None, keep: Keep) -> tuple[dict[int, Any], list[int]]:
    """One pass from the start to the last wanted frame: the frames by index, and the stamps of all frames passed.

    With None for `wanted` no picture is kept and the pass goes to the end. Raises VideoError.
    """
    frames: dict[int, Any] = {}
    stamps: list[int] = []
    last = None if wanted is None else max(wanted)
    try:
        with open_video(path) as container:
            stream = video_stream(container, path)
            stream.thread_type = "AUTO"
            stream.codec_context.options = decoder_options()
            for index, frame in enumerate(container.decode(stream)):
                stamps.append(index if frame.pts is None else frame.pts)
                if wanted is not None and index in wanted:
                    frames[index] = keep(upright(frame, pixel_shape(stream)))
                if index == last:
                    break
    except AV_ERRORS as error:
        raise VideoError(f"{path} breaks off while decoding, after {len(stamps)} frames: {error}") from None
    except OddTurn as error:
        raise VideoError(f"{path}: {error}; encode it again upright.") from None
    return frames, stamps


def plan_runs(packets: Packets, wanted: set[int]) -> list[list[int]] | None:
    """The packets to decode for the wanted frames, in runs that each begin anew; None where that is not known."""
    if packets.starts is None:
        return None
    starts = list(packets.starts)
    stretches = []
    for last in packets.order[sorted(wanted)].tolist():
        place = bisect_right(starts, last) - 1
        # A picture shown before its keyframe may be predicted from what precedes the keyframe.
        while packets.stamps[starts[place]] > packets.stamps[last]:
            place -= 1
        stretches.append((starts[place], last))
    runs: list[list[int]] = []
    ends = {last for _, last in stretches}
    reached = -1
    for start, last in sorted(stretches):
        if start > reached:
            runs.append([])
            reached = start - 1
        runs[-1] += [index for index in range(reached + 1, last + 1) if index in ends or packets.needed[index]]
        reached = max(reached, last)
    return runs


def usable_cores() -> int:
    """The cores this process may keep busy: its share, when it is one of several data loader workers or ranks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    loader = sys.modules.get("torch.utils.data")  # a command without torch has no workers
    worker = loader.get_worker_info() if loader else None
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) * (worker.num_workers if worker else 1)
    return max(1, cores // sharing)


def share_runs(runs: list[list[int]], cores: int) -> list[list[list[int]]]:
    """Runs for each of several threads, about as much for each; fewer threads than cores where it is too little."""
    count = max(1, min(cores, len(runs), sum(map(len, runs)) // _SHARE_PACKETS))
    shares: list[list[list[int]]] = [[] for _ in range(count)]
    for run in sorted(runs, key=len, reverse=True):
        min(shares, key=lambda share: sum(map(len, share))).append(run)
    return [sorted(share) for share in shares]


def decode_some(path: str, packets: Packets, wanted: set[int], keep: Keep) -> dict[int, Any] | None:
    """The wanted frames by index, or None when it is not certain that they are what `decode_all` would give.

    `keep` may be called from other threads, one at a time.
    """
    runs = plan_runs(packets, wanted)
    if runs is None:
        return None
    indices = {int(packets.stamps[packets.order[index]]): index for index in wanted}
    frames: dict[int, Any] = {}
    lock = Lock()

    def take(frame: av.VideoFrame, pixel: Fraction) -> None:
        if frame.pts in indices:
            image = upright(frame, pixel)
            with lock:
                frames[indices[frame.pts]] = keep(image)

    # Runs know nothing of each other, so threads that take one each never wait; libavcodec's own threads do.
    cores = usable_cores()
    shares = share_runs(runs, cores)
    threads = cores // len(shares)
    with ThreadPoolExecutor(len(shares)) as pool:
        sure = list(pool.map(lambda share: _decode_runs(path, packets, share, threads, take), shares))
    return frames if all(sure) and frames.keys() == wanted else None


def _decode_runs(
    path: str, packets: Packets, runs: list[list[int]], threads: int, take: Callable[[av.VideoFrame, Fraction], None]
) -> bool:
    """Decode runs in one pass over the file; whether all their frames came out whole, and in order."""
    try:
        with open_video(path) as container:
            stream = video_stream(container, path)
            stream.thread_type = "AUTO"
            # As many as libavcodec starts of itself: one more than there are cores.
            stream.codec_context.thread_count = 1 if threads == 1 else threads + 1
            # Damage and missing references are errors then; frames do not tell of them when threads decode several.
            stream.codec_context.options = {"err_detect": "explode", **decoder_options()}
            pixel = pixel_shape(stream)
            reader = _Reader(container, stream, packets)
            for run in runs:
                first = packets.stamps[run[0]]
                expected = sorted(packets.stamps[i] for i in run if packets.shown[i] and packets.stamps[i] >= first)
                came = []
                for frame in _decode_run(stream.codec_context, reader.read(run)):
                    # An interlaced picture's halves may be packets of their own, one of them left out here.
                    if frame.pts is None or frame.is_corrupt or frame.interlaced_frame:
                        return False
                    take(frame, pixel)
                    if frame.pts >= first:
                        came.append(frame.pts)
                if came != expected:
                    return False
    except (*AV_ERRORS, OddTurn, _OtherPackets):
        return False
    return True


def _decode_run(decoder: av.VideoCodecContext, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
    for packet in packets:
        yield from decoder.decode(packet)
    yield from decoder.decode(None)
    decoder.flush_buffers()


class _OtherPackets(Exception):
    """The file holds other packets than those that were read before, or a jump missed its place."""


class _Reader:
    """Takes packets out of an open file by their place in decoding order, which must ascend."""

    def __init__(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream, packets: Packets
    ) -> None:
        self._container, self._stream, self._packets = container, stream, packets
        self._demuxed = container.demux(stream)
        self._place = -1

    def read(self, run: list[int]) -> Iterator[av.Packet]:
        """The packets of a run. Raises _OtherPackets."""
        if run[0] - self._place > _SEEK_PACKETS:
            self._container.seek(self._packets.starts[run[0]], stream=self._stream)
            self._demuxed = self._container.demux(self._stream)
            self._place = None
        for index in run:
            packet = self._next()
            while self._place < index:
                packet = self._next()
            if self._place > index:
                raise _OtherPackets
            yield packet

    def _next(self) -> av.Packet:
        packet = next((packet for packet in self._demuxed if packet.size), None)
        if packet is None:
            raise _OtherPackets
        places = np.flatnonzero(self._packets.stamps == packet.pts) if self._place is None else [self._place + 1]
        if len(places) != 1 or self._packets.stamps[places[0] : places[0] + 1] != [packet.pts]:
            raise _OtherPackets
        self._place = int(places[0])
        return packet
