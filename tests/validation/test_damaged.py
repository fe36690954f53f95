"""Two hundred damaged copies of one video: each is reported by name or can be read, none hangs or kills anything."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from conftest import SHARED
from PIL import Image

from vistadpo_plugin.demo.shapes import Scene, write_video
from vistadpo_plugin.validation.examine import Options, examine
from vistadpo_plugin.validation.source import find_source

REAL = SHARED / "data" / "videos" / "film.mp4"
SECONDS = 1.4
ROW = {"prompt": "What?", "chosen": "A dog.", "rejected": "A cat.", "event": [0.1, 0.3], "keyframe": 0.2,
       "box": [60, 50, 20, 20]}  # fmt: skip
COPIES = 200


def cut(source: Path, target: Path) -> None:
    """The first SECONDS of a video, packet by packet as they are."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None and packet.pts * packet.time_base < SECONDS:
                packet.stream = stream
                part.mux(packet)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short mp4 from a real camera and encoder where one is here, else one that we encode."""
    path = tmp_path_factory.mktemp("original") / "video.mp4"
    if REAL.is_file():
        cut(REAL, path)
    else:
        write_video(Scene(25, 0, ()), path)
    return path


def damage(data: bytes, kind: str, rng: random.Random) -> bytes:
    """One damaged copy. The index (moov) of both originals is at the end, after the frames' data."""
    content, index = bytearray(data), data.index(b"moov")
    some = rng.choice((1, 3, 30, 300))
    if kind == "truncated":
        return data[: rng.randrange(1, len(data))]
    if kind == "moov missing":
        return data[: index - 4 - rng.randrange(100)]
    if kind == "moov renamed":
        return data.replace(b"moov", b"xxxx")
    if kind == "bits":
        for _ in range(some):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "bits of the index":
        for _ in range(some):
            content[rng.randrange(index, len(content))] ^= 1 << rng.randrange(8)
    elif kind == "bytes of the head":
        content[rng.randrange(48)] = rng.randrange(256)
    elif kind == "zeros":
        start, length = rng.randrange(len(content)), rng.randrange(1, len(content) // 2)
        content[start : start + length] = bytes(len(content[start : start + length]))
    elif kind == "bytes lost":
        start = rng.randrange(len(content))
        del content[start : start + rng.randrange(1, 500)]
    return bytes(content)


SPOILT = ("truncated", "moov missing", "moov renamed", "bits", "bits of the index", "bytes of the head", "zeros",
          "bytes lost")  # fmt: skip


def copies(data: bytes, folder: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of COPIES files."""
    rng = random.Random(0)
    Image.new("RGB", (64, 48)).save(folder / "image.png")
    yield "empty.mp4", b""
    yield "text.mp4", b"This is no video.\n" * 40
    yield "page.mp4", b"<!DOCTYPE html><html><body>404</body></html>"
    yield "image.mp4", (folder / "image.png").read_bytes()
    yield "only_zeros.mp4", bytes(len(data))
    yield "wrong_ending.avi", data
    yield "wrong_ending.jpg", data
    yield "no_ending", data
    for number in range(COPIES - 8):
        kind = SPOILT[number % len(SPOILT)]
        yield f"{number:03d} {kind}.mp4", damage(data, kind, rng)


def test_each_damaged_file_is_named_or_readable(original: Path, tmp_path: Path) -> None:
    names = []
    for name, content in copies(original.read_bytes(), tmp_path):
        (tmp_path / name).write_bytes(content)
        names.append(name)
    assert len(set(names)) == COPIES
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": name, "video": name, **ROW}) + "\n" for name in names))

    started = time.monotonic()
    source = find_source(str(rows), None)
    report = examine(source, Options(source.media_dir, time_limit=20.0, workers=2))
    assert time.monotonic() - started < 120  # a file that hangs would alone take 20 s

    errors = {finding.id: finding for finding in report.findings if finding.severity == "error"}
    for name, finding in errors.items():
        assert name in finding.message and finding.kind != "unexpected-error", finding.message
    usable = {row.id: row for row in report.usable.grounded}
    assert errors.keys() | usable.keys() == set(names) and not errors.keys() & usable.keys()

    outcomes = Counter((name.partition(" ")[2][:-4], name in usable) for name in names)
    for kind in ("truncated", "moov missing", "moov renamed"):
        assert outcomes[kind, True] == 0, kind
    assert {"wrong_ending.avi", "wrong_ending.jpg", "no_ending"} <= usable.keys()  # ffmpeg goes by the content
    assert not {"empty.mp4", "text.mp4", "page.mp4", "image.mp4", "only_zeros.mp4"} & usable.keys()
    assert 20 <= len(usable) <= COPIES - 100

    frames = {Path(video.video).name: video.frames for video in report.videos}
    for name, row in usable.items():
        with av.open(str(tmp_path / name), metadata_errors="ignore") as container:
            times = [frame.time for frame in container.decode(video=0)]
        event = [time for time in times if 0.1 <= time - times[0] <= 0.3]
        assert event and len(times) - len(event) >= 4 and row.events == ((0.1, 0.3),), name
        assert 0.9 * frames[name] <= len(times) <= frames[name], name
