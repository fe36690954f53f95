"""Which frames come out of a file, when they are shown, and what is said about files that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from data.barcode_video import (
    HEIGHT,
    WIDTH,
    codes,
    count_decodes,
    draw,
    hide_frame,
    read_code,
    write_images,
    write_video,
)
from PIL import Image

from vistadpo_plugin.data.video.video import (
    FrameSource,
    VideoError,
    frame_size,
    images_in,
    natural_order,
    open_image,
)

FPS, FRAMES = 10, 40
IRREGULAR_MS = [0, 40, 100, 700, 750, 1500, 1540, 3000]
IMAGES_FPS = 2.0
needs_vp8 = pytest.mark.skipif("libvpx" not in av.codecs_available, reason="this PyAV cannot encode VP8")


def read(path: Path, choose: Callable[[np.ndarray], set[int]]) -> tuple[np.ndarray, dict[int, int]]:
    """Times, and the number that each chosen frame shows."""
    times, frames = FrameSource(str(path), IMAGES_FPS).read(choose, lambda image: image)
    return times, {index: read_code(frame) for index, frame in frames.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "regular.mp4", range(FRAMES))
    write_video(folder / "start.mp4", range(FRAMES), container_options={"movflags": "faststart"})
    for suffix in ("mp4", "mkv"):
        write_video(folder / f"irregular.{suffix}", range(8), stamps_ms=IRREGULAR_MS)
    if "libvpx" in av.codecs_available:
        write_video(folder / "vp8.webm", range(FRAMES), codec="libvpx")
    return folder


def test_header_and_times_of_a_regular_file(folder: Path) -> None:
    path = str(folder / "regular.mp4")
    assert frame_size(path) == (WIDTH, HEIGHT)
    assert FrameSource(path, IMAGES_FPS).times() == pytest.approx(np.arange(FRAMES) / FPS)


@needs_vp8
def test_header_and_times_of_a_file_that_does_not_count_its_frames(folder: Path) -> None:
    path = str(folder / "vp8.webm")
    assert frame_size(path) == (WIDTH, HEIGHT)
    assert FrameSource(path, IMAGES_FPS).times() == pytest.approx(np.arange(FRAMES) / FPS)


@pytest.mark.parametrize("name", ["irregular.mp4", "irregular.mkv"])
def test_times_of_an_irregular_file(folder: Path, name: str) -> None:
    path = folder / name
    assert FrameSource(str(path), IMAGES_FPS).times() == pytest.approx(np.array(IRREGULAR_MS) / 1000)
    # 0.72 s is nearest to frame 3 (0.70 s), although the file is half over only at frame 4
    times, shown = read(path, lambda times: {int(np.abs(times - 0.72).argmin()), 7})
    assert shown == {3: 3, 7: 7}
    assert times == pytest.approx(np.array(IRREGULAR_MS) / 1000)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_time_counts_from_the_first_frame(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"late.{suffix}", range(6), stamps_ms=[5000 + 200 * index for index in range(6)])
    assert FrameSource(str(path), IMAGES_FPS).times() == pytest.approx(np.arange(6) / 5)
    assert read(path, lambda times: {0, 5})[1] == {0: 0, 5: 5}


@pytest.mark.parametrize("name", ["regular.mp4", pytest.param("vp8.webm", marks=needs_vp8)])
@pytest.mark.parametrize("wanted", [{0}, {39}, {0, 1, 17, 38, 39}, set(range(FRAMES))])
def test_exactly_the_chosen_frames_come_out(folder: Path, name: str, wanted: set[int]) -> None:
    times, shown = read(folder / name, lambda times: wanted)
    assert len(times) == FRAMES
    assert shown == {index: index for index in wanted}


def test_one_pass_and_only_what_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = count_decodes(monkeypatch)
    kept: list[tuple[int, int]] = []

    def keep(image: Image.Image) -> Image.Image:
        kept.append(image.size)
        return image.resize((8, 6))

    _, frames = FrameSource(str(folder / "regular.mp4"), IMAGES_FPS).read(lambda times: {30, 2, 9}, keep)
    assert passes == ["regular.mp4"]
    assert kept == [(WIDTH, HEIGHT)] * 3
    assert {image.size for image in frames.values()} == {(8, 6)}


def test_times_are_read_without_decoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = count_decodes(monkeypatch)
    frame_size(str(folder / "regular.mp4"))
    FrameSource(str(folder / "regular.mp4"), IMAGES_FPS).times()
    assert passes == []


@needs_vp8
def test_a_hidden_frame_is_no_frame(folder: Path, tmp_path: Path) -> None:
    """40 packets, one of which shows nothing: the last shown frame is the 39th, and reads 39."""
    path = hide_frame(folder / "vp8.webm", tmp_path / "hidden.webm", 5)
    times, shown = read(path, lambda times: {len(times) - 1})
    assert len(times) == 39 and times[-1] == pytest.approx(3.9)
    assert shown == {38: 39}


@needs_vp8
def test_the_frame_of_a_time_behind_a_hidden_frame(folder: Path, tmp_path: Path) -> None:
    """Frame 8 is shown at 0.8 s, whether or not there is a packet before it that shows nothing."""
    path = hide_frame(folder / "vp8.webm", tmp_path / "hidden.webm", 5)
    _, shown = read(path, lambda times: {int(np.abs(times - 0.8).argmin())})
    assert list(shown.values()) == [8]


def test_a_file_trimmed_by_an_edit_list(tmp_path: Path) -> None:
    """What `ffmpeg -ss 0.5 -c copy` leaves: 20 frames in the file, of which those before 0 s are not to be shown."""
    path = write_video(tmp_path / "trimmed.mp4", range(20), first_stamp=-5)
    with av.open(str(path)) as container:
        assert codes(frame.to_image() for frame in container.decode(video=0)) == list(range(5, 20))
    times, shown = read(path, lambda times: {0, 14})
    assert times == pytest.approx(np.arange(15) / FPS)
    assert shown == {0: 5, 14: 19}


def test_natural_order() -> None:
    assert natural_order(["f10.png", "f9.png", "a.png", "f1.png", "f09b.png"]) == [
        "a.png",
        "f1.png",
        "f9.png",
        "f09b.png",
        "f10.png",
    ]


def test_a_folder_of_frames(tmp_path: Path) -> None:
    """Frames 1 to 12 show 0 to 11; in the order of plain text frame_10 would come second. Other files are no frames."""
    folder = write_images(tmp_path / "frames", range(12))
    (folder / "frame_0.txt").write_text("no image")
    images = images_in(str(folder))
    assert [Path(image).name for image in images] == [f"frame_{number}.png" for number in range(1, 13)]
    assert frame_size(images) == (WIDTH, HEIGHT)
    times, frames = FrameSource(images, IMAGES_FPS).read(lambda times: {1, 11}, lambda image: image)
    assert times == pytest.approx(np.arange(12) / 2)
    assert {index: read_code(frame) for index, frame in frames.items()} == {1: 1, 11: 11}


@dataclass(frozen=True)
class Broken:
    name: str
    content: Callable[[Path], bytes]
    says: str
    header_readable: bool = False


def part(name: str, share: float) -> Callable[[Path], bytes]:
    """The beginning of a file of `folder`."""

    def cut(folder: Path) -> bytes:
        content = (folder / name).read_bytes()
        return content[: int(len(content) * share)]

    return cut


def damaged(folder: Path) -> bytes:
    """start.mp4 with zeros for the second half of its pictures."""
    content = (folder / "start.mp4").read_bytes()
    middle = (content.index(b"mdat") + len(content)) // 2
    return content[:middle] + bytes(len(content) - middle)


@pytest.mark.parametrize(
    "broken",
    [
        Broken("text.mp4", lambda folder: b"this is no video\n", "cannot"),
        Broken("empty.mp4", lambda folder: b"", "cannot"),
        # its index is at its end, and gone
        Broken("no_index.mp4", part("regular.mp4", 0.6), "cannot|no video stream"),
        # its index is at its start, and promises 40 frames
        Broken("half.mp4", part("start.mp4", 0.7), "promises 40 frames", header_readable=True),
        Broken("damaged.mp4", damaged, "while decoding", header_readable=True),
    ],
    ids=lambda broken: broken.name,
)
def test_a_broken_file_is_named(folder: Path, tmp_path: Path, broken: Broken) -> None:
    path = tmp_path / broken.name
    path.write_bytes(broken.content(folder))
    if not broken.header_readable:
        with pytest.raises(VideoError, match=broken.name):
            frame_size(str(path))
    with pytest.raises(VideoError, match=broken.says) as caught:
        read(path, lambda times: {len(times) - 1})
    assert str(path) in str(caught.value)


def test_a_title_in_another_encoding_does_not_matter(folder: Path, tmp_path: Path) -> None:
    """ffmpeg hands titles over as bytes; these are no UTF-8."""
    path = tmp_path / "title.mp4"
    with av.open(str(folder / "regular.mp4")) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "TITLE"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = path.read_bytes()
    assert content.count(b"TITLE") == 1
    path.write_bytes(content.replace(b"TITLE", b"\xac\xff\xfe\xe9\xe8"))
    assert frame_size(str(path)) == (WIDTH, HEIGHT)
    _, frames = read(path, lambda times: {0, len(times) - 1})
    assert frames == {0: 0, 39: 39}


def test_a_video_that_nothing_decodes_is_named(folder: Path, tmp_path: Path) -> None:
    """The name of its codec, in the index, is one that does not exist."""
    content = (folder / "regular.mp4").read_bytes()
    names = [name for name in (b"avc1", b"mp4v") if name in content]
    path = tmp_path / "codec.mp4"
    path.write_bytes(content.replace(names[-1], b"zzzz"))
    for attempt in (lambda: frame_size(str(path)), lambda: FrameSource(str(path), 2.0).times()):
        with pytest.raises(VideoError, match=r"codec\.mp4: there is no decoder"):
            attempt()


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot list the folder .*gone"):
        images_in(str(tmp_path / "gone"))


@needs_vp8
def test_a_webm_cut_short_is_noticed(folder: Path, tmp_path: Path) -> None:
    """Half of a file whose header says 4.0 s; it counts no frames, but what is left ends at about a third."""
    path = tmp_path / "half.webm"
    path.write_bytes(part("vp8.webm", 0.5)(folder))
    with av.open(str(path)) as container:
        assert container.duration == 4_000_000, "the header must be whole for this test to mean anything"
    with pytest.raises(VideoError, match=r"half\.webm"):
        read(path, lambda times: {len(times) - 1})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for attempt in (lambda path: frame_size(path), lambda path: FrameSource(path, 2.0).times()):
        with pytest.raises(VideoError, match=r"gone\.mp4"):
            attempt(str(tmp_path / "gone.mp4"))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for attempt in (lambda: frame_size(str(path)), lambda: FrameSource(str(path), 2.0).times()):
        with pytest.raises(VideoError, match=r"sound\.mp4 has no video stream"):
            attempt()


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    """The first 60 bytes of a PNG hold its size but not its pixels."""
    good, cut, text = (str(tmp_path / name) for name in ("good.png", "cut.png", "text.png"))
    draw(77).save(good)
    Path(cut).write_bytes(Path(good).read_bytes()[:60])
    Path(text).write_text("no image")
    assert read_code(open_image(good)) == 77
    for name in (cut, text):
        with pytest.raises(VideoError, match=Path(name).name):
            open_image(name)
    assert frame_size((cut,)) == (WIDTH, HEIGHT)
    with pytest.raises(VideoError, match=r"text\.png"):
        frame_size((text,))


def test_a_grey_image_with_transparency_becomes_rgb(tmp_path: Path) -> None:
    Image.new("LA", (4, 4), (200, 128)).save(tmp_path / "grey.png")
    assert open_image(str(tmp_path / "grey.png")).getpixel((0, 0)) == (200, 200, 200)
