"""Videos that look alike are named: the same recording under another name, encoded again or scaled."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from data.filmed import write_film
from PIL import Image

from vistadpo_plugin.data.views.looks import find_alike, look
from vistadpo_plugin.demo.shapes import draw_scene, write_video
from vistadpo_plugin.validation.examine import Options, Report, examine
from vistadpo_plugin.validation.source import find_source


def encode_again(source: Path, target: Path, size: tuple[int, int], skip: int = 0) -> None:
    """The same frames in another size, quality and codec, without the first `skip`."""
    with av.open(str(source)) as given, av.open(str(target), "w") as taken:
        stream = taken.add_stream("mpeg4", rate=given.streams.video[0].average_rate, options={"qscale": "12"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for number, frame in enumerate(given.decode(video=0)):
            if number >= skip:
                image = frame.to_image().resize(size)
                taken.mux(stream.encode(av.VideoFrame.from_image(image)))
        taken.mux(stream.encode(None))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    rng = random.Random(3)
    for name in ("a", "b", "c"):
        write_video(draw_scene(rng), folder / f"{name}.mp4")
    encode_again(folder / "a.mp4", folder / "a_small.mp4", (96, 72))
    encode_again(folder / "b.mp4", folder / "b_cut.mkv", (160, 120), skip=3)
    shutil.copy(folder / "a.mp4", folder / "a_copy.mp4")
    write_film(folder / "late.mp4", 40, late=2.0, sound=True)
    return folder


@pytest.fixture
def report(media: Path, tmp_path: Path) -> Callable[..., Report]:
    """Of rows about these videos, or (video, what else the row says)."""

    def run(*videos: str | tuple[str, dict[str, Any]], decode: bool = True) -> Report:
        rows = []
        for video in videos:
            name, more = video if isinstance(video, tuple) else (video, {})
            row = {"video": name, "prompt": "What moves?", "chosen": "A dog.", "rejected": "A cat.", **more}
            rows.append(json.dumps(row))
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(rows))
        return examine(find_source(str(path), None), Options(str(media), given=True, decode=decode))

    return run


def alike(made: Report) -> list[str]:
    return [finding.message for finding in made.findings if finding.kind == "alike-videos"]


def test_a_recording_under_two_names_is_named(report: Callable[..., Report], media: Path) -> None:
    made = report("a.mp4", "b.mp4", "c.mp4", "a_small.mp4", "b_cut.mkv")
    assert alike(made) == [
        f"{media}/a.mp4 looks like {media}/a_small.mp4",
        f"{media}/b.mp4 looks like {media}/b_cut.mkv",
    ]
    assert not made.has_errors


def test_a_group_and_a_copy_are_apart_already(report: Callable[..., Report]) -> None:
    assert alike(report(("a.mp4", {"group": 1}), "c.mp4", ("a_small.mp4", {"group": 1}))) == []
    copies = report("a.mp4", "a_copy.mp4")
    assert alike(copies) == [] and [finding.kind for finding in copies.findings] == ["one-video"]


def test_without_decoding_nothing_is_compared(report: Callable[..., Report]) -> None:
    assert alike(report("a.mp4", "a_small.mp4", decode=False)) == []


def test_a_late_picture_is_named(report: Callable[..., Report]) -> None:
    made = report(("late.mp4", {"event": [3, 4]}), "a.mp4")
    (finding,) = [finding for finding in made.findings if finding.kind == "picture-late"]
    assert finding.line == 1 and "late.mp4, by 2.00 s" in finding.message
    assert {Path(video.video).name: round(video.late, 2) for video in made.videos} == {"a.mp4": 0.0, "late.mp4": 2.0}


def test_bits_counted_by_hand() -> None:
    """Alike are frames that differ in at most 8 of 64 bits, and videos of which over half of the frames of each are."""
    base = [random.Random(seed).getrandbits(64) for seed in range(5)]
    eight = [value ^ 0xFF for value in base]
    nine = [value ^ 0x1FF for value in base]
    others = [random.Random(seed).getrandbits(64) for seed in range(10, 15)]
    assert find_alike([base, others, eight]) == [(0, 2)]
    assert find_alike([base, nine]) == []
    assert find_alike([base, base[:3] + others[:2], base[:2] + others[:3]]) == [(0, 1), (1, 2)]
    assert find_alike([base[:2], base[:2]]) == [], "two frames are too few to tell"
    assert find_alike([(), base, ()]) == find_alike([]) == []


def test_nothing_is_concluded_from_empty_frames() -> None:
    """Black frames look alike whatever the video."""
    assert look(Image.new("RGB", (64, 48))) is None
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    assert look(Image.fromarray(noise)) is not None
