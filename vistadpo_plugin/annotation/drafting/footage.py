"""Which videos there are, what their headers say, and which stretches and frames of them a model is shown."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vistadpo_plugin.data.rows.recordings import content_digest
from vistadpo_plugin.data.video.video import VIDEO_SUFFIXES, FrameSource, VideoError, frame_size, is_shown_otherwise
from vistadpo_plugin.validation.isolation import Died, Hung, Workers

_LOOKS_A_SECOND = 4.0  # frames compared in search of cuts
_THUMBNAIL = (16, 16)
# Grey levels by which thumbnails a quarter of a second apart differ at a cut, and how many times the usual difference.
_CUT_LEVELS, _CUT_TIMES = 24.0, 4.0
_SHORTEST_SCENE = 1.0  # s


@dataclass(frozen=True)
class Footage:
    """A video file that can be asked about.

    `name` is its path below the folder it was found in, without the ending. `times` (n,) are those of its frames on a
    player's clock, `end` when the last is over; `size` (width, height) as it is shown; `cuts` where another scene
    begins, in seconds; `as_stored` whether it is shown as it is stored.
    """

    name: str
    path: str
    digest: str
    times: np.ndarray
    end: float
    size: tuple[int, int]
    cuts: tuple[float, ...]
    as_stored: bool

    @property
    def start(self) -> float:
        return float(self.times[0])


@dataclass(frozen=True)
class Stretch:
    """From when to when a model is shown a video, in seconds, and how many drafts it is asked for."""

    start: float
    end: float
    drafts: int


def find_videos(places: Sequence[Path]) -> dict[str, Path]:
    """The video files named, and those in the folders named and below, by name, in order.

    Raises ValueError where there is none.
    """
    found: dict[Path, Path] = {}  # file -> its name
    for place in places:
        if place.is_dir():
            for parent, folders, files in os.walk(place, followlinks=True):
                folders.sort()
                paths = [Path(parent) / name for name in sorted(files)]
                found |= {path: path.relative_to(place) for path in paths if path.suffix.lower() in VIDEO_SUFFIXES}
        elif place.is_file():
            found[place] = Path(place.name)
        else:
            raise ValueError(f"{place}: no such file or folder.")
    if not found:
        raise ValueError(f"no video ({', '.join(VIDEO_SUFFIXES)}) in {', '.join(map(str, places))}.")
    stems = Counter(name.with_suffix("") for name in found.values())
    named: dict[str, Path] = {}
    for path, name in found.items():
        text = (name.with_suffix("") if stems[name.with_suffix("")] == 1 else name).as_posix()
        if text in named:
            raise ValueError(f"{named[text]} and {path} have one name, {text}; name a folder that holds both.")
        named[text] = path
    return dict(sorted(named.items()))


@dataclass(frozen=True)
class _Look:
    name: str
    path: str
    scenes: bool


def survey(
    videos: dict[str, Path],
    scenes: bool,
    seconds: float,
    workers: int,
    progress: Callable[[Iterable[tuple[int, object]], int], Iterable[tuple[int, object]]] = lambda results, _: results,
) -> tuple[list[Footage], dict[str, str]]:
    """What every video is, and the sentences about those that cannot be read, by name; in processes of their own.

    With `scenes` the videos are decoded in search of cuts; a video may take so many `seconds`.
    """
    looks = [_Look(name, str(path), scenes) for name, path in videos.items()]
    found: dict[str, Footage] = {}
    wrong: dict[str, str] = {}
    with Workers(_look_at, workers) as pool:
        for index, result in progress(pool.run(looks, lambda _: seconds), len(looks)):
            name = looks[index].name
            if isinstance(result, Footage):
                found[name] = result
            else:
                wrong[name] = why_not(result, looks[index].path)
    return [found[name] for name in videos if name in found], wrong


def why_not(failure: object, path: str) -> str:
    """What became of a file in a process of its own, as a sentence."""
    if isinstance(failure, Hung):
        return f"reading {path} did not end within {failure.seconds:g} s and was stopped; --time-limit gives it more."
    if isinstance(failure, Died):
        return f"reading {path} killed its process (exit code {failure.exit_code})."
    return str(failure)


def _look_at(look: _Look) -> Footage | str:
    """A sentence where it cannot be read."""
    try:
        source = FrameSource(look.path, images_fps=1.0)
        times, late = source.times(), source.late()
        step = float(times[-1]) / (len(times) - 1) if len(times) > 1 else 0.0
        cuts = _find_cuts(source) if look.scenes else ()
        return Footage(
            name=look.name,
            path=look.path,
            digest=content_digest((look.path,)),
            times=times + late,
            end=late + float(times[-1]) + step,
            size=frame_size(look.path),
            cuts=tuple(late + cut for cut in cuts),
            as_stored=not is_shown_otherwise(look.path),
        )
    except (VideoError, OSError) as error:
        return str(error)
    except Exception as error:  # a library's own; the process is to serve the next video
        return f"{look.path}: {type(error).__name__}: {error}"


def _find_cuts(source: FrameSource) -> list[float]:
    """Where neighbouring thumbnails differ by far more than they mostly do, in seconds after the first frame."""

    def choose(times: np.ndarray) -> set[int]:
        looks = np.arange(0.0, float(times[-1]), 1 / _LOOKS_A_SECOND)
        return set(np.searchsorted(times, looks).tolist())

    times, kept = source.read(choose, lambda image: np.asarray(image.resize(_THUMBNAIL, Image.Resampling.BOX), float))
    indices = sorted(kept)
    changes = np.array([np.abs(kept[b] - kept[a]).mean() for a, b in zip(indices, indices[1:], strict=False)])
    if not len(changes):
        return []
    cuts: list[float] = []
    for index in np.flatnonzero(changes > max(_CUT_LEVELS, _CUT_TIMES * float(np.median(changes)))):
        cut = float(times[indices[index + 1]])
        if cut - (cuts[-1] if cuts else 0.0) >= _SHORTEST_SCENE:
            cuts.append(cut)
    return cuts


def stretches(footage: Footage, drafts: int, longest: float) -> list[Stretch]:
    """What a model is shown at a time: all of a video that is no longer than `longest` seconds.

    Of a longer one a stretch for each draft, from equal parts of the video, out of the middle of the part or, where
    cuts are known, of the scene that fills most of the part.
    """
    start, end = footage.start, footage.end
    if end - start <= longest or len(footage.times) <= drafts:
        return [Stretch(start, end, drafts)]
    edges = np.linspace(start, end, drafts + 1).tolist()
    found = []
    for part in zip(edges, edges[1:], strict=False):
        inside = [cut for cut in footage.cuts if part[0] < cut < part[1]]
        bounds = [part[0], *inside, part[1]]
        left, right = max(zip(bounds, bounds[1:], strict=False), key=lambda scene: scene[1] - scene[0])
        middle, half = (left + right) / 2, min(longest, right - left) / 2
        found.append(Stretch(middle - half, middle + half, 1))
    return found


def shown_frames(footage: Footage, stretch: Stretch, count: int) -> list[int]:
    """`count` frames of a stretch, evenly; where cuts are known every scene has its share, and one at least.

    All frames where there are no more than that; where none begins in the stretch, the one that is on show.
    """
    inside = np.flatnonzero((footage.times >= stretch.start) & (footage.times <= stretch.end))
    if not len(inside):  # frames seconds apart
        return [max(int(np.searchsorted(footage.times, stretch.start)) - 1, 0)]
    scenes = [scene for scene in np.split(inside, np.searchsorted(footage.times[inside], footage.cuts)) if len(scene)]
    if len(scenes) > count:
        return evenly(inside, count)
    left, chosen = count, []
    for number, scene in enumerate(scenes):
        frames = sum(map(len, scenes[number:]))
        share = min(max(1, round(left * len(scene) / frames)), left - (len(scenes) - number - 1), len(scene))
        chosen += evenly(scene, share)
        left -= share
    return chosen


def evenly(indices: np.ndarray | Sequence[int], count: int) -> list[int]:
    """`count` of the indices, the first and the last among them; all where there are no more."""
    if len(indices) <= count:
        return [int(index) for index in indices]
    if count == 1:
        return [int(indices[len(indices) // 2])]
    return [int(indices[place]) for place in np.linspace(0, len(indices) - 1, count).round().astype(int)]
