"""Some frames of a video are the frames that decoding all of it gives, bit for bit, for less work."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from conftest import SHARED, needs_shared
from data.barcode_video import drift, write_video
from PIL import Image

from vistadpo_plugin.data.video import decode
from vistadpo_plugin.data.video.decode import decode_all, decode_some, plan_runs, share_runs
from vistadpo_plugin.data.video.packets import Packets, read_packets
from vistadpo_plugin.data.video.video import FrameSource, VideoError

FRAMES, GOP = 48, 12
X264 = f"keyint={GOP}:min-keyint={GOP}:scenecut=0:b-adapt=0:sliced-threads=0"
X265 = f"log-level=none:keyint={GOP}:min-keyint={GOP}:scenecut=0:b-adapt=0"

pytestmark = pytest.mark.skipif(
    not {"libx264", "libx265", "libvpx", "libvpx-vp9", "libaom-av1"} <= av.codecs_available
    or not hasattr(av.Packet, "has_sidedata"),
    reason="this PyAV lacks the encoders, or cannot see what leaving out packets takes",
)


@dataclass(frozen=True)
class Case:
    """A way to encode 48 frames; the places in presentation order that follow from its options."""

    name: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    starts: tuple[int, ...] | None = (0, 12, 24, 36)
    first_stamp: int = 0


X264_PLAIN = {"x264-params": f"{X264}:bframes=3:b-pyramid=none"}
CASES = {
    case.name: case
    for case in [
        Case("plain.mp4", "libx264", X264_PLAIN),
        Case("one_gop.mp4", "libx264", {"x264-params": "scenecut=0:sliced-threads=0"}, starts=(0,)),
        Case(
            "small_gop.mp4", "libx264", {"x264-params": f"{X264}:keyint=3:min-keyint=1"}, starts=tuple(range(0, 48, 3))
        ),
        Case("pyramid.mkv", "libx264", {"x264-params": f"{X264}:bframes=5:b-pyramid=normal"}),
        Case("slices.mp4", "libx264", {"x264-params": f"{X264}:slices=3"}),
        Case("open_gop.mp4", "libx264", {"x264-params": f"{X264}:open-gop=1:bframes=4:b-pyramid=strict"}, starts=(0,)),
        Case("open_gop.mkv", "libx264", {"x264-params": f"{X264}:open-gop=1:bframes=3"}, starts=(0,)),
        Case("headers.mp4", "libx264", {"x264-params": f"{X264}:repeat-headers=1"}),
        # its later "keyframes" are whole only after many pictures more
        Case("refresh.mp4", "libx264", {"x264-params": f"{X264}:intra-refresh=1:bframes=0"}, starts=(0,)),
        Case("open_gop_hevc.mp4", "libx265", {"x265-params": f"{X265}:open-gop=1:b-pyramid=0"}),
        Case("closed_hevc.mkv", "libx265", {"x265-params": f"{X265}:open-gop=0"}),
        Case("layers_hevc.mp4", "libx265", {"x265-params": f"{X265}:temporal-layers=3"}),
        Case("mpeg4.mp4", "mpeg4", {"g": "12", "bf": "2", "sc_threshold": "1000000000"}, starts=None),
        Case("vp8.webm", "libvpx", {"g": "12", "keyint_min": "12"}),
        Case("vp9.webm", "libvpx-vp9", {"g": "12", "keyint_min": "12", "lag-in-frames": "10", "cpu-used": "8"}),
        Case("av1.mp4", "libaom-av1", {"g": "12", "keyint_min": "12", "cpu-used": "8", "usage": "realtime"}),
        Case("trimmed.mp4", "libx264", X264_PLAIN, first_stamp=-5),
    ]
}
# Decoded from the start, always: half pictures, no times of presentation, a codec that is not looked into.
WHOLE = {
    case.name: case
    for case in [
        Case("interlaced.mp4", "libx264", {"x264-params": f"{X264}:tff=1"}),
        Case("plain.avi", "libx264", X264_PLAIN),
        Case("mpeg2.mkv", "mpeg2video", {"bf": "2"}),
    ]
}


def plain(image: Image.Image) -> Image.Image:
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decode")
    for case in [*CASES.values(), *WHOLE.values()]:
        write_video(
            folder / case.name,
            range(FRAMES),
            codec=case.codec,
            options=case.options,
            first_stamp=case.first_stamp,
            picture=drift,
        )
    return folder


def all_frames(path: Path) -> list[av.VideoFrame]:
    """Every frame of a file, in PyAV's own way."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def pixels(frames: dict[int, Image.Image]) -> dict[int, bytes]:
    return {index: image.tobytes() for index, image in frames.items()}


def wanted_sets(count: int, seed: int) -> list[set[int]]:
    rng = random.Random(seed)
    return [{rng.randrange(count) for _ in range(size)} for size in (1, 1, 1, 1, 1, 1, 2, 3, 5, 8, 25)]


def check(path: Path, seed: int = 0, sets: int | None = None) -> None:
    """Frames of `path` that are decoded alone against all frames, bit for bit."""
    truth = [frame.to_image().tobytes() for frame in all_frames(path)]
    assert len(set(truth)) > len(truth) / 2
    packets = read_packets(str(path))
    for wanted in wanted_sets(len(truth), seed)[:sets]:
        frames = decode_some(str(path), packets, wanted, plain)
        assert frames is not None
        assert pixels(frames) == {index: truth[index] for index in wanted}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seek", [64, 3], ids=["read_through", "seek"])
def test_some_frames_are_those_of_a_full_pass(
    folder: Path, name: str, seek: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_SEEK_PACKETS", seek)
    check(folder / name, seed=seek)


@needs_shared
@pytest.mark.parametrize("name", ["baby.mp4", "film.mp4"])
def test_some_frames_of_a_real_video(name: str) -> None:
    check(SHARED / "data" / "videos" / name, sets=7)


@pytest.mark.parametrize("name", WHOLE)
def test_what_cannot_be_vouched_for_is_decoded_whole(folder: Path, name: str) -> None:
    path = folder / name
    truth = [frame.to_image().tobytes() for frame in all_frames(path)]
    for wanted in [*({index} for index in range(GOP)), *wanted_sets(len(truth), seed=0)]:
        assert decode_some(str(path), read_packets(str(path)), wanted, plain) is None
        _, frames = FrameSource(str(path), 2.0).read(lambda times, wanted=wanted: wanted, plain)
        assert pixels(frames) == {index: truth[index] for index in wanted}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.starts and not case.first_stamp])
def test_decoding_begins_at_the_keyframes_of_the_options(folder: Path, name: str) -> None:
    packets = read_packets(str(folder / name))
    assert packets.starts is not None
    places = sorted(packets.order.tolist().index(start) for start in packets.starts)
    if name == "open_gop_hevc.mp4":
        # an open GOP begins in decoding order where its keyframe is shown, up to its own B-pictures later
        assert len(places) == 4 and all(
            0 <= place - start <= 4 for place, start in zip(places, (0, 12, 24, 36), strict=True)
        )
    else:
        assert tuple(places) == CASES[name].starts


@pytest.mark.parametrize("name", ["plain.mp4", "open_gop_hevc.mp4", "mpeg4.mp4"])
def test_unneeded_packets_are_the_b_pictures(folder: Path, name: str) -> None:
    """Without a pyramid nothing is predicted from a B-picture, and from every other one something may be."""
    packets = read_packets(str(folder / name))
    predicted_both_ways = [frame.pict_type == PictureType.B for frame in all_frames(folder / name)]
    assert sum(predicted_both_ways) > FRAMES / 2
    assert [not packets.needed[packet] for packet in packets.order] == predicted_both_ways


def garble(source: Path, target: Path, places: set[int], share: float) -> Path:
    """A copy with noise in the last `share` of some packets."""
    content = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for place in places:
        length = int(packets[place].size * share)
        end = packets[place].pos + packets[place].size
        content[end - length : end] = random.Random(place).randbytes(length)
    target.write_bytes(content)
    return target


def test_what_is_not_needed_is_not_decoded(folder: Path, tmp_path: Path) -> None:
    """Noise instead of every packet outside the plan changes nothing; a full pass breaks off at it."""
    good, wanted = folder / "plain.mp4", {14, 17, 46}
    packets = read_packets(str(good))
    planned = {packet for run in plan_runs(packets, wanted) for packet in run}
    assert len(planned) < 15
    path = garble(good, tmp_path / "garbled.mp4", set(range(FRAMES)) - planned, share=1.0)
    truth = [frame.to_image().tobytes() for frame in all_frames(good)]
    assert pixels(decode_some(str(path), packets, wanted, plain)) == {index: truth[index] for index in wanted}
    with pytest.raises(VideoError, match=r"garbled\.mp4 breaks off"):
        decode_all(str(path), wanted, plain)


def test_damage_in_what_is_needed_is_left_to_the_full_pass(folder: Path, tmp_path: Path) -> None:
    keyframe = list(read_packets(str(folder / "plain.mp4")).starts)[1]
    path = garble(folder / "plain.mp4", tmp_path / "garbled.mp4", {keyframe}, share=0.8)
    packets = read_packets(str(path))
    assert packets.starts is not None, "what the pictures are to each other still shows"
    # again and again: threads must not let it pass now and then
    for wanted in 10 * [{12}, {14}, {20, 23}]:
        assert decode_some(str(path), packets, wanted, plain) is None
    assert decode_some(str(path), packets, {30}, plain) is not None


@pytest.mark.parametrize("seek", [64, 3], ids=["read_through", "seek"])
def test_packets_of_another_file_are_refused(folder: Path, seek: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_SEEK_PACKETS", seek)
    other = read_packets(str(folder / "small_gop.mp4"))
    assert decode_some(str(folder / "plain.mp4"), other, {30}, plain) is None
    later = replace(other, stamps=other.stamps + 1)
    assert decode_some(str(folder / "small_gop.mp4"), later, {30}, plain) is None


def test_a_packet_that_shows_nothing_is_noticed(folder: Path) -> None:
    """The frames an edit list cuts, taken for shown ones: all later frames would have the wrong index."""
    path = folder / "trimmed.mp4"
    packets = read_packets(str(path))
    assert packets.shown.sum() < FRAMES
    wrong = replace(packets, shown=np.ones(FRAMES, bool))
    assert decode_some(str(path), packets, {5}, plain) is not None
    assert decode_some(str(path), wrong, {10}, plain) is None


def remux(source: Path, target: Path, change: Callable[[int, av.Packet], None], first: int = 0) -> Path:
    """A copy of a file from its packet `first` on, `change` having seen each packet."""
    with av.open(str(source)) as given, av.open(str(target), "w") as taken:
        stream = given.streams.video[0]
        copy = taken.add_stream_from_template(stream)
        for place, packet in enumerate(packet for packet in given.demux(stream) if packet.size):
            if place >= first:
                change(place, packet)
                packet.stream = copy
                taken.mux(packet)
    return target


def test_a_wrong_keyframe_flag_is_not_believed(folder: Path, tmp_path: Path) -> None:
    """Beginning at a picture that is predicted from others gives other pixels, without an error."""

    def flag(place: int, packet: av.Packet) -> None:
        packet.is_keyframe = place % 2 == 0

    path = remux(folder / "plain.mp4", tmp_path / "flags.mp4", flag)
    table = path.read_bytes().partition(b"stss")[2]
    assert int.from_bytes(table[4:8], "big") == FRAMES / 2
    assert list(read_packets(str(path)).starts) == list(read_packets(str(folder / "plain.mp4")).starts)
    check(path)


def test_a_file_cut_inside_an_open_gop(folder: Path, tmp_path: Path) -> None:
    """Its first pictures in order of presentation need what was cut off: they have packets, and never come out."""
    source = folder / "open_gop_hevc.mp4"
    cut = list(read_packets(str(source)).starts)[1]
    path = remux(source, tmp_path / "cut.mkv", lambda place, packet: None, first=cut)
    packets = read_packets(str(path))
    assert packets.starts is None
    truth = [frame.to_image().tobytes() for frame in all_frames(path)]
    assert len(packets.stamps) == FRAMES - cut > len(truth)
    times, frames = FrameSource(str(path), 2.0).read(lambda times: {3, 20}, plain)
    assert len(times) == len(truth)
    assert pixels(frames) == {index: truth[index] for index in (3, 20)}


def test_headers_that_change_on_the_way(folder: Path, tmp_path: Path) -> None:
    """Two streams in one file, each with its parameter sets, which are other ones: nothing is left out."""
    second = write_video(
        tmp_path / "second.mp4",
        range(FRAMES),
        codec="libx264",
        options={"x264-params": f"{X264}:repeat-headers=1:cabac=0:qp=35"},
        picture=drift,
    )
    path = tmp_path / "both.mp4"
    with av.open(str(path), "w") as taken:
        copy, offset = None, 0
        for source in (folder / "headers.mp4", second):
            with av.open(str(source)) as given:
                stream = given.streams.video[0]
                copy = copy or taken.add_stream_from_template(stream)
                for packet in given.demux(stream):
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.stream = copy
                        taken.mux(packet)
                offset = stream.duration
    assert read_packets(str(folder / "headers.mp4")).starts is not None
    assert read_packets(str(path)).starts is None
    truth = [frame.to_image().tobytes() for frame in all_frames(path)]
    assert len(truth) == 2 * FRAMES
    _, frames = FrameSource(str(path), 2.0).read(lambda times: {50, 90}, plain)
    assert pixels(frames) == {index: truth[index] for index in (50, 90)}


class _ReadingContainer:
    """An open file that counts the packets taken from it."""

    def __init__(self, container: Any, taken: list[int]):
        self._container, self._taken = container, taken

    def __enter__(self) -> _ReadingContainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *args: Any) -> Any:
        for packet in self._container.demux(*args):
            self._taken.append(packet.pts)
            yield packet


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv"])
def test_a_frame_deep_inside_a_long_video_costs_a_jump(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(
        tmp_path / name, [i % 48 for i in range(600)], codec="libx264", options=X264_PLAIN, picture=drift
    )
    truth = [frame.to_image().tobytes() for frame in all_frames(path)]
    packets = read_packets(str(path))
    taken: list[int] = []
    really_open = av.open
    monkeypatch.setattr(av, "open", lambda *args, **kwargs: _ReadingContainer(really_open(*args, **kwargs), taken))
    wanted = {5, 350, 550}
    assert pixels(decode_some(str(path), packets, wanted, plain)) == {index: truth[index] for index in wanted}
    assert len(taken) < 100


def test_threads_share_the_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On as many cores as there are GOPs; what is kept is handed over by one thread at a time."""
    monkeypatch.setattr(decode, "_SHARE_PACKETS", 1)
    monkeypatch.setattr(decode, "usable_cores", lambda: 4)
    opened: list[str] = []
    really_open = av.open
    monkeypatch.setattr(av, "open", lambda path, *args, **kwargs: opened.append(path) or really_open(path))
    path, busy = folder / "plain.mp4", []

    def keep(image: Image.Image) -> Image.Image:
        busy.append(image)
        assert len(busy) == 1
        small = image.resize((image.width * 4, image.height * 4)).resize(image.size)
        busy.clear()
        return small

    packets = read_packets(str(path))
    truth = [frame.to_image() for frame in all_frames(path)]
    opened.clear()
    frames = decode_some(str(path), packets, set(range(FRAMES)), keep)
    assert opened == [str(path)] * 4
    assert pixels(frames) == {index: keep(image).tobytes() for index, image in enumerate(truth)}


def test_an_error_in_keep_is_not_swallowed(folder: Path) -> None:
    def keep(image: Image.Image) -> Image.Image:
        raise RuntimeError("cannot keep this")

    with pytest.raises(RuntimeError, match="cannot keep this"):
        FrameSource(str(folder / "plain.mp4"), 2.0).read(lambda times: {3}, keep)


# Stamps in decoding order: I0 P3 b1 b2 | I6 b4 b5 P9 b7 b8, the second keyframe's first two B-pictures shown before it.
OPEN_GOP = Packets(
    stamps=np.array([0, 3, 1, 2, 6, 4, 5, 9, 7, 8]),
    shown=np.ones(10, bool),
    time_base=1.0,
    starts={0: -2, 4: 2},
    needed=np.array([True, True, False, False, True, False, False, True, False, False]),
)


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ({0}, [[0]]),
        ({1}, [[0, 1, 2]]),
        ({2}, [[0, 1, 3]]),
        ({6}, [[4]]),
        ({8}, [[4, 7, 9]]),
        ({0, 6}, [[0], [4]]),
        # shown before its keyframe: from the keyframe before, through this one
        ({4}, [[0, 1, 4, 5]]),
        ({4, 7}, [[0, 1, 4, 5, 7, 8]]),
        ({2, 9}, [[0, 1, 3], [4, 7]]),
        (set(range(10)), [list(range(10))]),
    ],
)
def test_the_packets_of_a_plan(wanted: set[int], runs: list[list[int]]) -> None:
    assert plan_runs(OPEN_GOP, wanted) == runs


def test_a_plan_counts_shown_frames_only() -> None:
    """An edit list cuts the first four: frame 0 is then what was frame 4, and still needs them."""
    trimmed = replace(OPEN_GOP, shown=OPEN_GOP.stamps >= 4)
    assert plan_runs(trimmed, {0}) == [[0, 1, 4, 5]]
    assert plan_runs(replace(OPEN_GOP, starts=None, needed=None), {0}) is None


class _Cores:
    """A data set that tells how many cores its process may use."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return decode.usable_cores()


def test_cores_are_shared_among_workers_and_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.data import DataLoader

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert decode.usable_cores() == 16
    assert next(iter(DataLoader(_Cores(), batch_size=2, num_workers=2))).tolist() == [8, 8]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert decode.usable_cores() == 4
    assert next(iter(DataLoader(_Cores(), batch_size=2, num_workers=8))).tolist() == [1, 1]


def test_shares_are_even() -> None:
    runs = [[0] * 200, [1] * 500, [2] * 300]
    assert share_runs(runs, 2) == [[runs[1]], [runs[0], runs[2]]]
    assert share_runs(runs, 1) == [runs]
    assert [len(share_runs(runs, cores)) for cores in (3, 16)] == [3, 3]
    assert share_runs([[0] * 60, [1] * 60], 2) == [[[0] * 60, [1] * 60]]
