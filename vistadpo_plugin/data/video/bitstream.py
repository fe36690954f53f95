"""What a compressed picture is to its neighbours: may decoding begin at it, and is any other predicted from it?

Containers flag keyframes, but not everything flagged is a picture to begin at (H.264's gradual refresh, say), and they
do not say which pictures can be left out. So the few bits that decide are read from the pictures themselves, as laid
down in ITU-T H.264 7.4.1, ITU-T H.265 7.4.2.2 (HEVC), ISO/IEC 14496-2 6.2.5 (MPEG-4), RFC 6386 9.1 (VP8) and 6.2 of the
VP9 bitstream specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av

_H264_IDR = 5
# Mute: NAL units that say nothing to later pictures (slices, supplemental information, delimiters, filler).
_H264_SLICES, _H264_MUTE, _H264_HEADERS = {1, _H264_IDR}, {1, _H264_IDR, 6, 9, 12}, {7, 8, 13, 15}
_HEVC_MUTE, _HEVC_HEADERS = {*range(32), 35, 38, 39, 40}, {32, 33, 34}
# After these HEVC decoders drop pictures that have a packet: broken links, ends of sequence and of bitstream.
_HEVC_BREAKS = {16, 17, 18, 36, 37}
_HEVC_STARTS = {19, 20, 21}

# A picture that is not coded ends after its time stamp.
_MPEG4_CODED_BYTES = 12


@dataclass(frozen=True)
class Picture:
    """What one packet's picture is to the others.

    `starts`: decoding may begin here, for all that is shown no earlier. `referenced`: others of its temporal layer may
    be predicted from it; those of a higher `layer` may be even if not. `headers`: parameter sets that come with it.
    """

    starts: bool
    referenced: bool = True
    layer: int = 0
    headers: tuple[bytes, ...] = ()


PictureReader = Callable[[av.Packet], Picture | None]
"""None: the packet may show no picture, or more than itself; nothing can be concluded about the video."""


def picture_reader(codec: av.codec.CodecContext) -> PictureReader:
    """How to read the pictures of a stream; of codecs not known here, nothing can be concluded."""
    if codec.name == "h264":
        size = _length_size(codec.extradata, 4)
        return lambda packet: _h264(_nal_units(packet, size))
    if codec.name == "hevc":
        size = _length_size(codec.extradata, 21)
        return lambda packet: _hevc(_nal_units(packet, size))
    if codec.name == "mpeg4":
        return lambda packet: _mpeg4(_nal_units(packet, None))
    return {"vp8": _vp8, "vp9": _vp9, "libdav1d": _av1}.get(codec.name, lambda packet: None)


def _length_size(extradata: bytes | None, place: int) -> int | None:
    """Bytes of a NAL unit's length in front of it (avcC, hvcC); None for streams of start codes (Annex B)."""
    if extradata and extradata[0] == 1 and len(extradata) > place:
        return (extradata[place] & 3) + 1
    return None


def _nal_units(packet: av.Packet, size: int | None) -> Iterator[bytes | memoryview]:
    """The units of a packet, without lengths and start codes; an empty one where lengths do not add up."""
    if size is None:
        # What follows a unit's last 1 is the fourth byte of the next start code, or filling.
        yield from (unit.rstrip(b"\0") for unit in bytes(packet).split(b"\0\0\1")[1:])
        return
    content = memoryview(packet)
    place = 0
    while place < len(content):
        end = place + size + int.from_bytes(content[place : place + size], "big")
        yield content[place + size : end] if end <= len(content) else b""
        place = end


def _h264(units: Iterator[bytes | memoryview]) -> Picture | None:
    """Recovery points are no starts here: what precedes them in presentation may miss references, an error then."""
    kinds, referenced, headers = set(), False, []
    for unit in units:
        if not len(unit):
            return None
        kind = unit[0] & 31
        kinds.add(kind)
        if kind in _H264_SLICES:
            referenced |= bool(unit[0] & 0x60)
        elif kind in _H264_HEADERS:
            headers.append(bytes(unit))
    if not kinds & _H264_SLICES:
        return None
    return Picture(_H264_IDR in kinds, referenced or not kinds <= _H264_MUTE, headers=tuple(headers))


def _hevc(units: Iterator[bytes | memoryview]) -> Picture | None:
    kinds, layers, mute, headers = set(), set(), True, []
    for unit in units:
        if len(unit) < 2:
            return None
        kind = unit[0] >> 1 & 63
        if (unit[0] & 1) << 5 | unit[1] >> 3:  # another view or quality, which decoders here leave out
            continue
        if kind in _HEVC_BREAKS:
            return None
        mute &= kind in _HEVC_MUTE
        if kind < 32:
            kinds.add(kind)
            layers.add(unit[1] & 7)
        elif kind in _HEVC_HEADERS:
            headers.append(bytes(unit))
    if len(kinds) != 1 or len(layers) != 1:
        return None
    (kind,), (layer,) = kinds, layers
    referenced = not mute or kind >= 16 or kind % 2 == 1
    return Picture(kind in _HEVC_STARTS, referenced, layer, tuple(headers))


def _mpeg4(units: Iterator[bytes | memoryview]) -> Picture | None:
    pictures, headers = [], []
    for unit in units:
        if len(unit) and unit[0] == 0xB6:
            pictures.append(unit)
        elif len(unit) and unit[0] >> 4 == 2:
            headers.append(bytes(unit))
    # Two in one packet ("packed B-frames"), or one so short that it may say "not coded".
    if len(pictures) != 1 or len(pictures[0]) < _MPEG4_CODED_BYTES:
        return None
    kind = pictures[0][1] >> 6
    return Picture(kind == 0, kind != 2, headers=tuple(headers))


def _vp8(packet: av.Packet) -> Picture | None:
    first = memoryview(packet)[0]
    return Picture(not first & 1) if first & 16 else None


def _vp9(packet: av.Packet) -> Picture | None:
    """Keyframes are the container's: this decoder refuses pictures whose references it does not hold."""
    content = memoryview(packet)
    superframe = content[-1] & 0xE0 == 0xC0
    profile_3 = content[0] & 0x30 == 0x30
    shown = content[0] & 0b1010  # show_existing_frame, show_frame
    return Picture(packet.is_keyframe) if not profile_3 and (superframe or shown) else None


def _av1(packet: av.Packet) -> Picture:
    """A packet is a temporal unit, which shows one picture; the decoder refuses pictures that miss references."""
    return Picture(packet.is_keyframe)
