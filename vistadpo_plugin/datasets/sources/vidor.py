"""VidOR: objects, their boxes by frame, and relations of a video, one JSON file a video (`0000/2401075277.json`).

Layout as its authors describe it: subject/objects: [{tid, category}], trajectories: by frame, from 0, a list of {tid,
bbox: {xmin, ymin, xmax, ymax}, ...}, relation_instances: [{subject_tid, object_tid, predicate, begin_fid, end_fid}].
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vistadpo_plugin.arguments import is_finite_number
from vistadpo_plugin.data.rows.schema import Box
from vistadpo_plugin.datasets.sources.files import read_json

PERSONS = frozenset(("adult", "child", "baby"))
ANIMALS = frozenset(
    "antelope bear bird camel cat cattle/cow chicken crab crocodile dog duck elephant fish hamster/rat horse kangaroo "
    "leopard lion panda penguin pig rabbit sheep/goat snake squirrel stingray tiger turtle".split()
)

Relation = tuple[str, str, str]
"""(category of the subject, predicate, category of the object)."""


def sort_of(category: str) -> str:
    """person, animal or thing."""
    return "person" if category in PERSONS else "animal" if category in ANIMALS else "thing"


def spoken(category: str) -> str:
    """The category in words: `ball/sports_ball` is a ball, `bus/truck` a bus or truck, `baby_seat` a baby seat."""
    first, _, second = category.replace("_", " ").partition("/")
    return f"{first} or {second}" if second and first not in second.split() else first


def categories(item: dict[str, Any]) -> dict[int, str]:
    """tid -> category of a video's objects. Raises KeyError or TypeError where it is not of the released form."""
    return {entry["tid"]: entry["category"] for entry in item["subject/objects"]}


def relation(instance: dict[str, Any], names: dict[int, str]) -> Relation:
    """An instance by its categories. Raises KeyError or TypeError where it is not of the released form."""
    return names[instance["subject_tid"]], instance["predicate"], names[instance["object_tid"]]


@dataclass(frozen=True)
class Annotated:
    """What VidOR says of one video: boxes of each frame by tid, and all relations."""

    boxes: tuple[dict[int, Box], ...]
    relations: frozenset[Relation]


class VidorFolder:
    """The annotation files below a folder, read when they are asked for.

    Raises ValueError when the folder does not exist, or holds no JSON file.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise ValueError(f"the folder of VidOR's annotations {folder} does not exist.")
        self._files: dict[str, Path] = {}
        for parent, folders, names in os.walk(folder, followlinks=True):
            folders.sort()
            for name in sorted(names):
                if name.endswith(".json"):
                    self._files.setdefault(name.removesuffix(".json"), Path(parent) / name)
        if not self._files:
            raise ValueError(f"{folder} holds no JSON file; VidOR's annotations are one a video, 0000/2401075277.json.")

    # Questions come video by video.
    @functools.lru_cache(maxsize=1)  # noqa: B019 - one folder a run
    def find(self, video: str) -> Annotated | None:
        """What is said of a video, None where it has no file. Raises ValueError naming a file that is not VidOR's."""
        path = self._files.get(video)
        if path is None:
            return None
        item = read_json(path)
        try:
            names = categories(item)
            boxes = tuple({entry["tid"]: _box(entry["bbox"]) for entry in frame} for frame in item["trajectories"])
            relations = frozenset(relation(instance, names) for instance in item["relation_instances"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not VidOR's annotation of a video ({type(error).__name__}: {error})."
            ) from None
        return Annotated(boxes, relations)


def _box(corners: dict[str, Any]) -> Box:
    left, top, right, bottom = (corners[side] for side in ("xmin", "ymin", "xmax", "ymax"))
    if not all(map(is_finite_number, (left, top, right, bottom))):
        raise TypeError(f"a bbox of {corners}")
    return (left, top, right - left, bottom - top)
