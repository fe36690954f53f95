"""Videos as long as people's, and rows that ask about moments of them, for measuring what a row's data costs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from vistadpo_plugin.bench import decode

LENGTHS = {"30 s": 1, "5 min": 10}
"""Videos by length: how many times the 30 s of `decode.write_video` one after the other."""
VIDEOS, ROWS = 2, 4
"""Of each length; a row's unrelated video is another one."""


def write_rows(folder: Path) -> dict[str, Path]:
    """For each length `folder/*.mp4` and a file of rows that carry every term; returns the files of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "video_720p.mp4"
    _whole(source, decode.write_video)
    made = {}
    for length, copies in LENGTHS.items():
        name, seconds = length.replace(" ", "_"), copies * decode.SECONDS
        videos = [f"{name}_{number}.mp4" for number in range(VIDEOS)]
        for video in videos:
            _whole(folder / video, lambda path, copies=copies: repeat(source, path, copies))
        rng = random.Random(0)
        made[length] = folder / f"{name}.jsonl"
        rows = [_row(f"{name}-{number}", videos[number % VIDEOS], seconds, rng) for number in range(ROWS)]
        made[length].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a video that is not there yet; one that was begun when the time was over does not pass for it."""
    if not path.is_file():
        begun = path.with_name(f"begun_{path.name}")
        write(begun)
        begun.replace(path)


def _row(name: str, video: str, seconds: float, rng: random.Random) -> dict[str, object]:
    """An event of 2 to 8 seconds anywhere in the video, a keyframe within it and a box."""
    lasts = rng.uniform(2.0, 8.0)
    start = rng.uniform(0.0, seconds - lasts - 1.0)
    return {
        "id": name,
        "video": video,
        "prompt": "what does the man do in the kitchen",
        "chosen": "the man takes the red cup from the table and puts it into the box near the door",
        "rejected": "the man takes the blue ball from the chair and holds it under the window",
        "rejected_irrelevant": "a small dog runs away from the cat in the garden",
        "event": [round(start, 2), round(start + lasts, 2)],
        "keyframe": round(rng.uniform(start, start + lasts), 2),
        "box": [decode.WIDTH // 4, decode.HEIGHT // 4, decode.WIDTH // 3, decode.HEIGHT // 3],
    }


def repeat(source: Path, target: Path, copies: int) -> None:
    """The pictures of a file so many times over, not encoded again: groups of pictures stay as they are.

    The target's name is its title, so that no two files are one recording.
    """
    import av

    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        made.metadata["title"] = target.name
        length = round(stream.frames / stream.average_rate / stream.time_base)
        for number in range(copies):
            given.seek(0)
            for packet in given.demux(stream):
                if packet.size:
                    packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                    packet.stream = copy
                    made.mux(packet)
