"""Seeded videos of moving shapes whose grounding is known exactly: event, keyframe and box of the acting shape."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 160, 120
FPS = 10  # times are then multiples of 0.1 s, which JSON carries without loss

# Image processors crop the centre square, so nothing that matters may lie outside of it.
LEFT, RIGHT = (WIDTH - HEIGHT) // 2, (WIDTH + HEIGHT) // 2

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 230),
    "yellow": (235, 215, 50),
    "purple": (160, 60, 200),
    "white": (240, 240, 240),
}
SHAPES = ("square", "circle", "triangle")
ACTIONS: dict[str, str] = {
    "left": "moves to the left",
    "right": "moves to the right",
    "up": "moves up",
    "down": "moves down",
    "grow": "grows larger",
    "blink": "blinks on and off",
}
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
IRRELEVANT = (
    "A man is playing the guitar on a stage.",
    "Two dogs are running along a beach.",
    "A woman is chopping onions in a kitchen.",
    "The train arrives at a crowded station.",
    "A child is riding a bicycle through a park.",
    "The players are celebrating a goal in a stadium.",
    "A cat is sleeping on a wooden chair.",
    "An old ship is sailing through a storm.",
)

TRAVEL = 44  # px a moving shape covers
GROWTH = 2  # final over initial side of a growing shape
BLINK = 4  # frames between switching a blinking shape on and off
GAP = 3  # px at least between the areas of two shapes, so that no box is ever covered


@dataclass(frozen=True)
class Actor:
    """One shape: it acts from frame `start` to frame `end` and stands still before and after.

    `left`, `top` and `side` are its square bounding box at the start, in px.
    """

    colour: str
    shape: str
    action: str
    left: int
    top: int
    side: int
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def keyframe(self) -> int:
        """The frame in the middle of the event."""
        return (self.start + self.end) // 2

    def box(self, frame: int) -> tuple[int, int, int, int]:
        """(x, y, w, h) in px of the original frame."""
        done = min(max((frame - self.start) / (self.end - self.start), 0.0), 1.0)
        x, y, side = self.left, self.top, self.side
        if self.action == "grow":
            side = round(self.side * (1 + (GROWTH - 1) * done))
            x, y = x - (side - self.side) // 2, y - (side - self.side) // 2
        elif self.action in DIRECTIONS:
            dx, dy = DIRECTIONS[self.action]
            x, y = x + round(dx * TRAVEL * done), y + round(dy * TRAVEL * done)
        return x, y, side, side

    def visible(self, frame: int) -> bool:
        """Always, but for a blinking shape's off phases; those are laid out so that the keyframe shows the shape."""
        if self.action != "blink" or not self.start < frame < self.end:
            return True
        return (frame - self.keyframe + BLINK // 2) // BLINK % 2 == 0

    def area(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in px of all that the shape ever covers."""
        first, last = self.box(self.start), self.box(self.end)
        return (
            min(first[0], last[0]),
            min(first[1], last[1]),
            max(first[0] + first[2], last[0] + last[2]),
            max(first[1] + first[3], last[1] + last[3]),
        )


@dataclass(frozen=True)
class Scene:
    """A video before it is drawn: its number of frames, the seed of its background, and its shapes."""

    frames: int
    background: int
    actors: tuple[Actor, ...]


def fits(actor: Actor, others: list[Actor]) -> bool:
    """Whether all that the actor covers is inside what the model sees, and clear of what the others cover."""
    left, top, right, bottom = actor.area()
    if left < LEFT or top < 0 or right > RIGHT or bottom > HEIGHT:
        return False
    return all(
        right + GAP <= a or c + GAP <= left or bottom + GAP <= b or d + GAP <= top
        for a, b, c, d in (other.area() for other in others)
    )


def place(actor: Actor, others: list[Actor], rng: random.Random) -> Actor | None:
    """The actor at a random place clear of the others and inside what the model sees, None where none is found."""
    for _ in range(50):
        left, top = rng.randrange(LEFT, RIGHT - actor.side + 1), rng.randrange(HEIGHT - actor.side + 1)
        placed = replace(actor, left=left, top=top)
        if fits(placed, others):
            return placed
    return None


def draw_scene(rng: random.Random) -> Scene:
    """A random scene: colours, shapes and actions are distinct, events follow one another, areas do not overlap."""
    count = rng.choice((2, 3))
    frames = rng.randrange(4 * FPS, 6 * FPS + 1)
    background = rng.randrange(2**31)
    slot = frames // count
    while True:
        colours, shapes, actions = (
            rng.sample(list(COLOURS), count),
            rng.sample(SHAPES, count),
            rng.sample(list(ACTIONS), count),
        )
        actors: list[Actor] = []
        for i, (colour, shape, action) in enumerate(zip(colours, shapes, actions, strict=True)):
            length = rng.randrange(FPS, slot - 1)
            start = i * slot + 1 + rng.randrange(slot - length - 1)
            side = rng.randrange(20, 27)
            actor = place(Actor(colour, shape, action, 0, 0, side, start, start + length), actors, rng)
            if actor is not None:
                actors.append(actor)
        if len(actors) == count:
            return Scene(frames, background, tuple(actors))


def _draw_background(seed: int) -> np.ndarray:
    """A dark noisy gradient, (HEIGHT, WIDTH, 3) uint8: dark, so that every shape's colour stands out."""
    rng = np.random.default_rng(seed)
    tint = rng.uniform(40, 80, size=(2, 1, 1, 3))
    slope = np.linspace(0, 1, WIDTH)[None, :, None] * np.linspace(0.5, 1, HEIGHT)[:, None, None]
    noise = rng.normal(0, 6, size=(HEIGHT, WIDTH, 1))
    return np.clip(tint[0] + (tint[1] - tint[0]) * slope + noise, 0, 255).astype(np.uint8)


def draw_frames(scene: Scene, frames: Iterable[int] | None = None) -> Iterator[np.ndarray]:
    """The scene's frames of these numbers, by default all in order, each (HEIGHT, WIDTH, 3) uint8 RGB."""
    background = Image.fromarray(_draw_background(scene.background))
    for frame in range(scene.frames) if frames is None else frames:
        image = background.copy()
        canvas = ImageDraw.Draw(image)
        for actor in scene.actors:
            if not actor.visible(frame):
                continue
            x, y, w, h = actor.box(frame)
            right, bottom = x + w - 1, y + h - 1
            fill = COLOURS[actor.colour]
            if actor.shape == "square":
                canvas.rectangle((x, y, right, bottom), fill=fill)
            elif actor.shape == "circle":
                canvas.ellipse((x, y, right, bottom), fill=fill)
            else:
                canvas.polygon(((x, bottom), (right, bottom), ((x + right) // 2, y)), fill=fill)
        yield np.asarray(image)


def write_video(scene: Scene, path: Path) -> None:
    """Encode the scene as mp4 (yuv420p, FPS frames a second)."""
    with av.open(str(path), "w") as container:
        if "libx264" in av.codecs_available:
            stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"})
        else:
            stream = container.add_stream("mpeg4", rate=FPS, options={"qscale": "2"})
            stream.bit_rate = 4_000_000
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for image in draw_frames(scene):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def read_frames(path: Path, count: int = 8) -> list[np.ndarray]:
    """`count` frames spread evenly over the video, first and last included; each (height, width, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [frames[i] for i in np.linspace(0, len(frames) - 1, count).astype(int)]


def _ask(scene: Scene, actor: Actor, rng: random.Random) -> dict[str, str]:
    """One question about the actor's event with a true answer and a plausible false one."""
    act = ACTIONS[actor.action]
    chosen = f"The {actor.name} {act}."
    kind = rng.choice(("action", "actor", "colour"))
    if kind == "action":
        prompt = f"What does the {actor.name} do?"
        other = rng.choice([action for action in ACTIONS if action != actor.action])
        rejected = f"The {actor.name} {ACTIONS[other]}."
    elif kind == "actor":
        prompt = f"Which shape {act}?"
        other = rng.choice([mate.name for mate in scene.actors if mate is not actor])
        rejected = f"The {other} {act}."
    else:
        prompt = f"What colour is the {actor.shape} that {act}?"
        other = rng.choice([colour for colour in COLOURS if colour != actor.colour])
        chosen = f"The {actor.shape} that {act} is {actor.colour}."
        rejected = f"The {actor.shape} that {act} is {other}."
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "rejected_irrelevant": rng.choice(IRRELEVANT),
    }


def _cast(rows: int, rng: random.Random) -> list[tuple[str, Scene, Actor]]:
    """For each row its video's relative path, the scene in it and the shape it asks about."""
    cast: list[tuple[str, Scene, Actor]] = []
    for index in range(rows):
        if index % 6 == 5:
            video, scene, previous = cast[-1]
            actor = rng.choice([mate for mate in scene.actors if mate is not previous])
        else:
            video, scene = f"videos/{index:04d}.mp4", draw_scene(rng)
            actor = rng.choice(scene.actors)
        cast.append((video, scene, actor))
    return cast


def _is_thinned(index: int, turn: int) -> bool:
    """One row in eight, never among the first eight: those stay complete."""
    return index >= 8 and index % 8 == turn


def build_videos(folder: Path, rows: int, seed: int) -> Path:
    """Write `folder/videos/*.mp4` and `folder/rows.jsonl`; returns the path of the latter.

    Every sixth row asks about another shape of the video before it. From the ninth row on, of every eight rows one
    lacks `event`, one `box` and one `rejected_irrelevant`. Times are in seconds; a box is [x, y, w, h] in px of the
    original frame.

    Raises:
        ValueError: `rows` is below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be 1 or more, got {rows}")
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    lines: list[str] = []
    written: set[str] = set()
    for index, (video, scene, actor) in enumerate(_cast(rows, rng)):
        if video not in written:
            write_video(scene, folder / video)
            written.add(video)
        row: dict[str, Any] = {"id": f"shapes-{index:04d}", "video": video, **_ask(scene, actor, rng)}
        row["event"] = [actor.start / FPS, actor.end / FPS]
        row["keyframe"] = actor.keyframe / FPS
        row["box"] = list(actor.box(actor.keyframe))
        for field, turn in (("event", 1), ("box", 4), ("rejected_irrelevant", 6)):
            if _is_thinned(index, turn):
                del row[field]
        lines.append(json.dumps(row))
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
