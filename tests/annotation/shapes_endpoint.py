"""A scripted model that knows the shapes world: it reads off the pictures it is sent which video they are of, and when.

It answers as a good model would, exactly; `spoil` lets a test make some of its replies bad.
"""

from __future__ import annotations

import base64
import io
import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from local_endpoint import Endpoint, conversation, serve, whole
from PIL import Image

from vistadpo_plugin.demo.shapes import FPS, HEIGHT, IRRELEVANT, WIDTH, Scene, draw_frames, write_video
from vistadpo_plugin.demo.world import Asked, ask, draw_world

# Grey levels; JPEG and H.264 take two or three, another frame of the same scene has a shape elsewhere.
_SAME_PICTURE = 6.0


@dataclass
class Film:
    """A scene on disk, its frames as drawn (n, HEIGHT, WIDTH, 3), and what can be asked about it."""

    path: Path
    scene: Scene
    frames: np.ndarray
    questions: list[Asked]
    off_topic: str

    @property
    def seconds(self) -> float:
        return self.scene.frames / FPS


def make_films(folder: Path, count: int, seed: int = 0) -> list[Film]:
    """`count` videos of the world, `0.mp4` and so on, and in each two questions about what a shape does."""
    folder.mkdir(parents=True, exist_ok=True)
    films = []
    for number in range(count):
        rng = random.Random(f"annotate {seed} {number}")
        scene = draw_world(rng)
        questions: dict[str, Asked] = {}
        while len(questions) < 2:
            asked = ask(scene, "what", rng)
            questions[asked.prompt] = asked
        path = folder / f"{number}.mp4"
        write_video(scene, path)
        films.append(
            Film(path, scene, np.stack(list(draw_frames(scene))), list(questions.values()), rng.choice(IRRELEVANT))
        )
    return films


@dataclass
class Oracle:
    """What is asked of it, and its true replies."""

    films: list[Film]
    spoil: Callable[[str, int, list[dict[str, Any]], str], str | tuple[int, bytes] | None] = lambda *_: None
    """(what is asked: draft, choose or locate; number of the film; the conversation; the true reply) -> another reply,
    as text or as status and body, or None."""
    seen: list[tuple[str, int, list[int]]] = field(default_factory=list)
    """(what was asked, number of the film, frames shown) of every first request."""
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, text: str, before: int) -> str | tuple[int, bytes]:
        """The endpoint's answer to the conversation, which comes as JSON."""
        messages = json.loads(text)
        parts = messages[1]["content"]
        words = " ".join(part["text"] for part in parts if part["type"] == "text")
        places = [self._place(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
        (number,) = {film for film, _ in places}
        film, frames = self.films[number], [frame for _, frame in places]
        what = "locate" if "Draw a box" in words else "choose" if "Which answer" in words else "draft"
        with self._lock:
            self.seen.append((what, number, frames))
        reply = {"draft": self._draft, "choose": self._choose, "locate": self._locate}[what](film, frames, words)
        spoilt = self.spoil(what, number, messages, reply)
        return reply if spoilt is None else spoilt

    def _place(self, url: str) -> tuple[int, int]:
        """(film, frame) of a picture."""
        image = _open_picture(url)
        assert image.size == (WIDTH, HEIGHT)
        pixels = np.asarray(image.convert("RGB"), np.int16)
        apart = [np.abs(film.frames - pixels).mean(axis=(1, 2, 3)) for film in self.films]
        number = int(np.argmin([distances.min() for distances in apart]))
        frame = int(apart[number].argmin())
        assert apart[number][frame] < _SAME_PICTURE, "a picture of no film"
        return number, frame

    def _draft(self, film: Film, frames: list[int], words: str) -> str:
        told = [float(seconds) for seconds in re.findall(r"shown at ([\d.]+) seconds", words)]
        # Frames in which nothing moves look alike, and any of them will do.
        for frame, seconds in zip(frames, told, strict=True):
            there = film.frames[round(seconds * FPS)]
            assert np.abs(there.astype(int) - film.frames[frame]).mean() < 1, "a picture of another time than told"
        wanted = int(re.search(r"Write (\d+) question", words)[1])
        drafts = [self._one(film, asked, told) for asked in film.questions[:wanted]]
        return json.dumps({"drafts": drafts})

    def _one(self, film: Film, asked: Asked, told: list[float]) -> dict[str, Any]:
        actor = asked.actor
        keyframe = min(told, key=lambda seconds: abs(seconds * FPS - actor.keyframe))
        return {
            "question": asked.prompt,
            "answer": asked.truth,
            "wrong_answer": asked.wrong,
            "wrong_kind": "action",
            "off_topic_answer": film.off_topic,
            "event": [actor.start / FPS, actor.end / FPS],
            "keyframe": keyframe,
            "object": f"the {actor.name}",
            "box": _thousandths(actor.box(round(keyframe * FPS))),
        }

    def _choose(self, film: Film, frames: list[int], words: str) -> str:
        """The right answer where the pictures show the shape at work, else whatever comes first."""
        prompt = re.search(r"Question: (.*)", words)[1]
        asked = next(asked for asked in film.questions if asked.prompt == prompt)
        letters = {re.search(rf"{letter}: (.*)", words)[1]: letter for letter in "AB"}
        assert letters.keys() == {asked.truth, asked.wrong}
        sees = any(asked.actor.start < frame < asked.actor.end for frame in frames)
        return letters[asked.truth] if sees else "A"

    def _locate(self, film: Film, frames: list[int], words: str) -> str:
        name = re.search(r"around: the (.*)", words)[1]
        (frame,) = frames
        actor = next(actor for actor in film.scene.actors if actor.name == name)
        return json.dumps({"box": _thousandths(actor.box(frame))})


def _open_picture(url: str) -> Image.Image:
    kind, content = url.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def picture_sizes(text: str) -> set[tuple[int, int]]:
    """(width, height) of all pictures of the first message of a conversation, which comes as JSON."""
    parts = json.loads(text)[1]["content"]
    return {_open_picture(part["image_url"]["url"]).size for part in parts if part["type"] == "image_url"}


def _thousandths(box: tuple[int, int, int, int]) -> list[int]:
    """[x, y, w, h] in px -> corners in whole thousandths of the frame, as models write them."""
    x, y, w, h = box
    corners = (x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT)
    return [round(1000 * share) for share in corners]


@contextmanager
def serve_shapes(oracle: Oracle) -> Iterator[Endpoint]:
    """The oracle behind an endpoint; a request is counted by the whole of its conversation."""
    with serve(oracle, whole, conversation) as endpoint:
        yield endpoint
