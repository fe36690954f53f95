"""What pictures are to each other, from bytes laid down by hand after the standards."""

from __future__ import annotations

import av
import pytest

from vistadpo_plugin.data.video.bitstream import Picture, picture_reader

# A stream's own header says how many bytes give the length of a NAL unit: the low two bits of a byte, plus one.
AVCC = bytes([1, 100, 0, 31, 0xFC | 3, 0xE0])
HVCC = bytes([1, *20 * [0], 0xFC | 1, 0])

SPS, PPS = b"\x67\x64\x00\x1f", b"\x68\xee\x3c\x80"


def read(codec: str, content: bytes, extradata: bytes | None = None) -> Picture | None:
    context = av.CodecContext.create(codec, "r")
    if extradata is not None:
        context.extradata = extradata
    return picture_reader(context)(av.Packet(content))


def units(*contents: bytes, length: int = 4) -> bytes:
    return b"".join(len(content).to_bytes(length, "big") + content for content in contents)


def start_codes(*contents: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + content for content in contents)


# First byte of an H.264 unit: one bit 0, two bits nal_ref_idc, five bits nal_unit_type.
@pytest.mark.parametrize(
    ("contents", "picture"),
    [
        ([b"\x65\x88"], Picture(starts=True, referenced=True)),  # 0 11 00101: IDR
        ([b"\x41\x9a"], Picture(starts=False, referenced=True)),  # 0 10 00001
        ([b"\x01\x9e"], Picture(starts=False, referenced=False)),  # 0 00 00001
        ([b"\x01\x9e", b"\x01\x40"], Picture(starts=False, referenced=False)),  # two slices
        ([b"\x41\x9a", b"\x01\x40"], Picture(starts=False, referenced=True)),  # two fields, the second unreferenced
        ([b"\x09\xf0", b"\x06\x05\x01\x00", b"\x01\x9e"], Picture(starts=False, referenced=False)),
        # a recovery point: not exact for all that is shown later by the decoder's own account
        ([b"\x06\x06\x01\xc4\x80", b"\x41\x9a"], Picture(starts=False, referenced=True)),
        ([SPS, PPS, b"\x65\x88"], Picture(starts=True, referenced=True, headers=(SPS, PPS))),
        # parameter sets in a packet make it one that others need
        ([PPS, b"\x01\x9e"], Picture(starts=False, referenced=True, headers=(PPS,))),
        ([b"\x06\x05\x01\x00"], None),  # no picture
    ],
)
def test_h264(contents: list[bytes], picture: Picture | None) -> None:
    assert read("h264", units(*contents), AVCC) == picture
    assert read("h264", start_codes(*contents)) == picture


@pytest.mark.parametrize("content", [b"\0\0\0\x09\x41\x9a", b"\0\0\0\0" + units(b"\x41\x9a"), b"\0\0", bytes(50)])
def test_lengths_that_do_not_add_up(content: bytes) -> None:
    assert read("h264", content, AVCC) is None
    assert read("hevc", content, AVCC + bytes(15) + b"\xff\0") is None


# Two bytes of an HEVC unit: one bit 0, six bits type, six bits layer id, three bits temporal id + 1.
def hevc(kind: int, temporal: int = 0, layer: int = 0) -> bytes:
    return (kind << 9 | layer << 3 | temporal + 1).to_bytes(2, "big") + b"\x80"


@pytest.mark.parametrize(
    ("contents", "picture"),
    [
        ([hevc(0)], Picture(False, referenced=False, layer=1)),  # TRAIL_N
        ([hevc(1)], Picture(False, referenced=True, layer=1)),  # TRAIL_R
        ([hevc(2, temporal=2)], Picture(False, referenced=False, layer=3)),  # TSA_N
        ([hevc(8)], Picture(False, referenced=False, layer=1)),  # RASL_N
        ([hevc(9)], Picture(False, referenced=True, layer=1)),  # RASL_R
        ([hevc(19)], Picture(True, referenced=True, layer=1)),  # IDR_W_RADL
        ([hevc(20)], Picture(True, referenced=True, layer=1)),  # IDR_N_LP
        ([hevc(21)], Picture(True, referenced=True, layer=1)),  # CRA
        ([hevc(16)], None),  # BLA: pictures after it are dropped
        ([hevc(1), hevc(36)], None),  # end of sequence
        ([hevc(33), hevc(34), hevc(20)], Picture(True, True, 1, (hevc(33), hevc(34)))),
        ([hevc(34), hevc(0)], Picture(False, True, 1, (hevc(34),))),
        ([hevc(39), hevc(0), hevc(40)], Picture(False, referenced=False, layer=1)),
        ([hevc(0), hevc(1, layer=1)], Picture(False, referenced=False, layer=1)),  # a second view
        ([hevc(0), hevc(1)], None),  # two pictures
        ([hevc(39)], None),
    ],
)
def test_hevc(contents: list[bytes], picture: Picture | None) -> None:
    assert read("hevc", units(*contents, length=2), HVCC) == picture
    assert read("hevc", start_codes(*contents)) == picture


def vop(kind: int, length: int = 20) -> bytes:
    """An MPEG-4 picture; two bits vop_coding_type: I, P, B, S."""
    return b"\0\0\1\xb6" + bytes([kind << 6 | 1]) + b"\x55" * (length - 2)


VOL = b"\0\0\1\x20\x00\x84"


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (vop(0), Picture(True)),
        (vop(1), Picture(False)),
        (vop(2), Picture(False, referenced=False)),
        (vop(3), Picture(False)),
        (VOL + b"\0\0\1\xb3\x00\x10\x07" + vop(0), Picture(True, headers=(VOL[3:],))),
        (vop(1) + vop(2), None),  # packed
        (vop(1, length=7), None),  # may be "not coded"
        (b"\x55" * 30, None),
    ],
)
def test_mpeg4(content: bytes, picture: Picture | None) -> None:
    assert read("mpeg4", content) == picture


# VP8, from the lowest bit: not a keyframe, version (3), shown.
@pytest.mark.parametrize(
    ("first", "picture"),
    [(0b10000, Picture(True)), (0b10001, Picture(False)), (0b00001, None), (0b00000, None)],
)
def test_vp8(first: int, picture: Picture | None) -> None:
    assert read("vp8", bytes([first, 2, 3])) == picture


# VP9, from the highest bit: marker 10, profile (2), show_existing_frame, not a keyframe, show_frame, error resilience.
@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (b"\x82\x00", Picture(False)),  # 10 00 0 0 1 0
        (b"\x86\x00", Picture(False)),
        (b"\x88\x00", Picture(False)),  # shows one that was hidden
        (b"\x84\x00", None),  # hidden
        (b"\x84\x00\xc9\x01\x01\xc9", Picture(False)),  # hidden and shown, as the index at the end says
        (b"\xb2\x00", None),  # profile 3, which has a bit more
    ],
)
def test_vp9(content: bytes, picture: Picture | None) -> None:
    assert read("vp9", content) == picture


@pytest.mark.parametrize("codec", ["vp9", "libdav1d"])
def test_keyframes_of_the_container(codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    packet = av.Packet(b"\x82\x00")
    packet.is_keyframe = True
    assert picture_reader(av.CodecContext.create(codec, "r"))(packet) == Picture(True)


def test_other_codecs_say_nothing() -> None:
    assert read("mpeg2video", b"\0\0\1\x00\x00\x08") is None
