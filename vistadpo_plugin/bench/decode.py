"""One 30 s 720p mp4: every view of a row taken from it, against the host's decode of the file once."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SECONDS, FPS, WIDTH, HEIGHT = 30, 30, 1280, 720
ROUNDS = 5


def write_video(path: Path) -> None:
    """H.264 with the encoder's own defaults (B-frames, a keyframe every 250 frames): textured, moving, grainy."""
    import av

    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (HEIGHT, 2 * WIDTH, 3), dtype=np.uint8)
    smooth = np.stack([np.convolve(line, np.ones(24) / 24, "same") for line in texture[..., 0]])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(SECONDS * FPS):
            shift = 3 * index % WIDTH
            picture = np.repeat(smooth[:, shift : shift + WIDTH, None], 3, axis=2)
            picture += rng.integers(-4, 5, (HEIGHT, WIDTH, 1))
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def compare(folder: Path) -> dict[str, float]:
    """Median seconds of both, measured in turn."""
    from vistadpo_plugin.arguments import VistaArguments
    from vistadpo_plugin.data.rows.grounding import ground
    from vistadpo_plugin.data.rows.schema import parse_row
    from vistadpo_plugin.data.views.keys import ViewKeys
    from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, FULL, KEYFRAME, ViewBuilder

    path = folder / "video_720p.mp4"
    if not path.is_file():
        write_video(path)
    row = {
        "id": "decode",
        "video": path.name,
        "prompt": "What happens?",
        "chosen": "It moves.",
        "rejected": "It stands.",
        "event": [11.0, 15.0],
        "keyframe": 13.0,
        "box": [10, 10, 50, 50],
    }
    grounded = ground(parse_row(row, "decode"), str(folder), 2.0)
    builder = ViewBuilder(ViewKeys.of(VistaArguments()), 2.0, 8, 8, _shrink, 0)
    ours, host = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        builder.build(grounded, None, {FULL, CLIP, CLIP_NEGATIVE, KEYFRAME})
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        _host_decode(path)
        host.append(time.perf_counter() - started)
    return {"views_seconds": median(ours), "host_seconds": median(host)}


def _host_decode(path: Path) -> list[Any]:
    """As LLaMA-Factory 0.9.5 does it: every frame of the file, those wanted become pictures, which are then resized."""
    import av

    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == "video")
        wanted = set(np.linspace(0, stream.frames - 1, 8).astype(int).tolist())
        container.seek(0)
        frames = [frame.to_image() for index, frame in enumerate(container.decode(stream)) if index in wanted]
    return [_shrink(frame) for frame in frames]


def _shrink(image: Any) -> Any:
    """To at most 256 x 256 pixels in all, as the host does it."""
    factor = (256 * 256 / (image.width * image.height)) ** 0.5
    return image.resize((int(image.width * factor), int(image.height * factor)))
