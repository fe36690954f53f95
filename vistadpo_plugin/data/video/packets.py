"""The packets of a video file, read without decoding: when each is shown, and which of them a frame needs."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import av
import numpy as np
from PIL import Image

from vistadpo_plugin.data.video.bitstream import Picture, picture_reader
from vistadpo_plugin.data.video.upright import pixel_shape, square_size

# A header may promise a few frames more than the file decodes to (edit lists); beyond this share the file is cut short.
MISSING_SHARE = 0.1

# A picture that begins less than this after its sound counts as beginning with it: encoders delay one or the other by a
# few hundredths, players disagree about those, and nobody reads them off.
LATE_SECONDS = 0.1

# Demuxers of files that hold their pictures themselves. Lists (ffconcat, HLS, DASH) name other files to be opened.
CONTAINERS = (
    "asf", "avi", "dv", "flv", "gif", "ivf", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "ogg", "rm", "webm",
)  # fmt: skip
_ONLY_CONTAINERS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}

# Files whose packets are remembered; 30 s at 30 frames a second take about 15 kB.
_REMEMBERED_FILES = 512

# Without it, a change of the stream's headers inside the file cannot be seen.
_SEES_NEW_HEADERS = hasattr(av.Packet, "has_sidedata")

AV_ERRORS = (av.error.FFmpegError, OSError)


class VideoError(ValueError):
    """A video that cannot be read; the message names the file."""


def check_file(path: str) -> os.stat_result:
    """The status of a regular file. Raises OSError where there is nothing, and VideoError for anything else.

    A pipe would be waited for for ever, and a device may never end.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(f"{path} is no regular file (a pipe, device or folder).")
    return status


def pixel_limit() -> int | None:
    """Pixels of the largest frame that is read: what Pillow allows an image."""
    return None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def decoder_options() -> dict[str, str]:
    """What makes libavcodec refuse larger frames, whatever the file's header says."""
    limit = pixel_limit()
    return {} if limit is None else {"max_pixels": str(limit)}


def open_video(path: str) -> av.container.InputContainer:
    """Open a file that holds its video itself. Raises VideoError for what is none, and what `AV_ERRORS` lists."""
    check_file(path)
    try:
        # Titles and the like are none of our business, whatever their encoding. Options of streams make PyAV 16 crash
        # at containers whose header does not list their streams (mpegts).
        return av.open(path, container_options=_ONLY_CONTAINERS, metadata_errors="replace")
    except av.error.ValueError as error:  # how a demuxer that is not allowed is said
        raise VideoError(
            f"{path} is no video file of a kind that is read ({', '.join(CONTAINERS)}): {error.strerror}."
        ) from None


def video_stream(container: av.container.InputContainer, path: str) -> av.video.stream.VideoStream:
    """The first video stream. Raises VideoError."""
    if not container.streams.video:
        raise VideoError(f"{path} has no video stream.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{path}: there is no decoder for its video, the file is damaged or of an unknown kind.")
    if not stream.width or not stream.height:
        raise VideoError(f"{path}: its header names no frame size, the file is damaged.")
    width, height = square_size((stream.width, stream.height), pixel_shape(stream))
    limit = pixel_limit()
    if limit is not None and width * height > limit:
        raise VideoError(f"{path}: its frames of {width} x {height} pixels are above the limit of {limit} pixels.")
    return stream


def seconds_from_first(stamps: list[int] | np.ndarray, time_base: float) -> np.ndarray:
    """Ascending stamps (n,) in units of `time_base` seconds -> seconds after the first (n,)."""
    stamps = np.asarray(stamps, dtype=np.float64)
    return (stamps - stamps[0]) * time_base


@dataclass(frozen=True)
class Packets:
    """The packets of a video in decoding order, n of them shown, in units of `time_base` seconds.

    `stamps` (all,) and `shown` (all,) are in order of decoding. `starts` maps the packets at which decoding may begin
    to their decoding stamps, `needed` (all,) is false for those that no other is predicted from; None where it is not
    certain that one can leave out anything. `late` is how many seconds the picture begins after the sound, 0 where that
    is less than `LATE_SECONDS`.
    """

    stamps: np.ndarray
    shown: np.ndarray
    time_base: float
    late: float = 0.0
    starts: dict[int, int] | None = None
    needed: np.ndarray | None = None

    @cached_property
    def order(self) -> np.ndarray:
        """Which packet each shown frame is, in order of presentation (n,)."""
        shown = np.flatnonzero(self.shown)
        return shown[np.argsort(self.stamps[shown], kind="stable")]

    @property
    def shown_stamps(self) -> list[int]:
        """Presentation stamps of the shown packets (n,), ascending."""
        return self.stamps[self.order].tolist()

    def times(self) -> np.ndarray:
        """Times of all frames (n,), seconds after the first."""
        return seconds_from_first(self.stamps[self.order], self.time_base)


def read_packets(path: str) -> Packets:
    """Read all packets without decoding. Raises VideoError, also for a file whose end is missing."""
    try:
        status = check_file(path)
    except OSError as error:
        raise VideoError(f"cannot open the video {path}: {error}") from None
    return _read_packets(path, status.st_size, status.st_mtime_ns)


@lru_cache(_REMEMBERED_FILES)  # every epoch asks for the same files
def _read_packets(path: str, size: int, modified: int) -> Packets:
    stamps: list[int] = []
    shown: list[bool] = []
    decoding_stamps: list[int] = []
    pictures: list[Picture | None] = []
    try:
        with open_video(path) as container:
            stream = video_stream(container, path)
            read_picture = picture_reader(stream.codec_context)
            for packet in container.demux(stream):
                if not packet.size or (packet.pts is None and packet.dts is None):
                    continue
                stamps.append(packet.dts if packet.pts is None else packet.pts)
                shown.append(not packet.is_discard)  # cut away by an edit list, as after a lossless trim
                decoding_stamps.append(stamps[-1] if packet.dts is None else packet.dts)
                alone = packet.pts is None or not _SEES_NEW_HEADERS or packet.has_sidedata("new_extradata")
                pictures.append(None if alone else read_picture(packet))
            promised, time_base = stream.frames, float(stream.time_base)
            reordered = stream.codec_context.has_b_frames
            seconds, sound = _promised_seconds(container, stream), _sound_start(container)
    except AV_ERRORS as error:
        done = "read" if stamps else "open"
        raise VideoError(f"cannot {done} the video {path}: {error}") from None
    if not any(shown):
        raise VideoError(f"{path} holds no frames.")
    if promised and len(stamps) < (1 - MISSING_SHARE) * promised:
        raise VideoError(f"{path} is cut short: its header promises {promised} frames, the file holds {len(stamps)}.")
    packets = Packets(np.array(stamps), np.array(shown), time_base)
    first, last = packets.shown_stamps[0], packets.shown_stamps[-1]
    if sound is not None and first * time_base - sound >= LATE_SECONDS:
        packets = replace(packets, late=first * time_base - sound)
    end = (last + (last - first) / max(sum(shown) - 1, 1)) * time_base
    if seconds is not None and end < (1 - MISSING_SHARE) * seconds:
        raise VideoError(f"{path} is cut short: its header promises {seconds:.2f} s, its frames end at {end:.2f} s.")
    if None in pictures or not _starts_suffice(packets, pictures, reordered):
        return packets
    highest = max(picture.layer for picture in pictures)
    return replace(
        packets,
        starts={index: decoding_stamps[index] for index, picture in enumerate(pictures) if picture.starts},
        needed=np.array([picture.referenced or picture.layer < highest for picture in pictures]),
    )


def _starts_suffice(packets: Packets, pictures: list[Picture], reordered: bool) -> bool:
    """Whether decoding may begin at any start without knowing what came before, and stamps tell frames apart."""
    starts = [picture.starts for picture in pictures]
    if not starts[0] or len(np.unique(packets.stamps)) < len(pictures) or (np.diff(packets.stamps[starts]) < 0).any():
        return False
    # Pictures shown before the first one in the file are predicted from what was cut off, and may not come out.
    if packets.stamps[packets.order[0]] < packets.stamps[0]:
        return False
    # AVI stores no times of presentation, and those made up for it are in the order of decoding.
    reordered = reordered or not all(picture.referenced for picture in pictures)
    if reordered and (np.diff(packets.stamps) > 0).all():
        return False
    # Parameter sets may change on the way: the same come with every start, or none come at all.
    headers = {picture.headers for picture in pictures if picture.starts}
    return len(headers) == 1 and {picture.headers for picture in pictures} <= headers | {()}


def _sound_start(container: av.container.InputContainer) -> float | None:
    """Seconds on the container's clock at which the first of its sound tracks begins; None without one."""
    starts = [
        stream.start_time * stream.time_base for stream in container.streams.audio if stream.start_time is not None
    ]
    return float(min(starts)) if starts else None


def _promised_seconds(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float | None:
    """Where Matroska and WebM say the video ends, counted from time 0; they give no frame count to check instead."""
    if stream.frames or stream.duration is not None:
        return None
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    # The container's length may be another stream's, a longer sound track's say.
    alone = len(container.streams) == 1 and container.duration is not None
    return container.duration / av.time_base if alone else None
