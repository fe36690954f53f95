"""Rows into a folder that Label Studio reviews: configuration, tasks, and the media they show."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from vistadpo_plugin.annotation.label_studio.media import Shown, jpeg, pictures_at, show_video
from vistadpo_plugin.annotation.label_studio.page import CONFIGURATION
from vistadpo_plugin.annotation.label_studio.tasks import Picture, Task
from vistadpo_plugin.annotation.label_studio.units import ruler_of
from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.data.rows.grounding import GroundedRow, frame_times, ground
from vistadpo_plugin.data.rows.schema import Row, RowError, parse_row
from vistadpo_plugin.data.video.video import FrameSource, VideoError, image_size, open_image
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.layouts.paths import FolderNames

CONFIGURATION_FILE, TASKS_FILE, MEDIA = "label_config.xml", "tasks.json", "media"

SERVED = "/data/local-files/?d="
"""Where Label Studio serves files of LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""

UNEVEN = "a video of uneven frame rate: a tick of its time line is no frame, but 1/60 s"
LATE = "a video whose picture begins after its sound: times stay a player's"
COPIED = "a video that browsers do not play, shown as a copy"
NO_KEYFRAME = "a row without keyframe: the picture is of the middle of its event, or of its video"


@dataclass(frozen=True)
class _Plan:
    where: str
    text: str
    row: Row
    grounded: GroundedRow
    name: str


def export(
    sources: list[tuple[str, str]], folder: Path, media_dir: Path, images_fps: float, url: str | None, account: Account
) -> int:
    """Write configuration, tasks and media of (place, JSON text) rows into `folder`; returns how many tasks there are.

    Rows that cannot be used, and rows of videos that cannot be read, are left out of it and counted. `images_fps` is
    the rate of folders of frames; `url` is where browsers find the folder's `media`, by default Label Studio's own
    server of local files, with the folder above `folder` as its root. Raises OSError and ValueError.
    """
    names, plans = FolderNames(), []
    for where, text in sources:
        # A row of a JSON list may go over several lines, and comes back as one; line ends stand only between its parts.
        text = text.replace("\r", " ").replace("\n", " ")
        try:
            row = parse_row(text, where)
            grounded = ground(row, str(media_dir), images_fps)
        except RowError as error:
            account.leave_out(error.kind or "unusable", error.where, error.message)
            continue
        plans.append(_Plan(where, text, row, grounded, names.give(row.id.replace("/", "_"))))
    media = folder / MEDIA
    media.mkdir(parents=True, exist_ok=True)
    address = _address(media, url if url is not None else f"{SERVED}{quote(folder.resolve().name)}/{MEDIA}/")

    by_video: dict[str | tuple[str, ...], list[_Plan]] = defaultdict(list)
    for plan in plans:
        by_video[plan.grounded.video].append(plan)
    made: dict[str, dict[str, Any]] = {}
    with tqdm(total=len(plans), desc="preparing videos", unit="row", disable=None) as bar:
        for video, members in by_video.items():
            try:
                shown = show_video(FrameSource(video, images_fps), media / "videos", members[0].name)
                tasks = _tasks(FrameSource(video, images_fps), shown, members, media / "pictures", account)
            except VideoError as error:
                for plan in members:
                    account.leave_out("unreadable-file", plan.row.where, str(error))
                tasks = {}
            for name, (task, picture) in tasks.items():
                made[name] = task.as_json(address(shown.file), address(picture))
            bar.update(len(members))
    tasks_text = ",\n".join(json.dumps(made[plan.name], ensure_ascii=False) for plan in plans if plan.name in made)
    write_text(folder / TASKS_FILE, f"[\n{tasks_text}\n]\n")
    write_text(folder / CONFIGURATION_FILE, CONFIGURATION)
    return len(made)


def _address(media: Path, url: str) -> Callable[[Path], str]:
    base = url if url.endswith(("/", "=")) else f"{url}/"
    return lambda file: base + quote(file.relative_to(media).as_posix())


def _tasks(
    source: FrameSource, shown: Shown, plans: list[_Plan], pictures: Path, account: Account
) -> dict[str, tuple[Task, Path]]:
    """The tasks of the rows of one video and the picture of each, by name."""
    pictures.mkdir(parents=True, exist_ok=True)
    times, late = frame_times(source.video, source.images_fps), source.late()
    ruler = ruler_of(times, shift=late) if shown.copied else ruler_of(times, late=late)
    moments = {plan.name: _moment(plan.grounded, float(times[-1])) for plan in plans}
    cut = pictures_at(source, {moment for moment in moments.values() if moment is not None})
    tasks = {}
    for plan in plans:
        path, moment = pictures / f"{plan.name}.jpg", moments[plan.name]
        if moment is None:  # turned as its EXIF says, since a browser that does not would show another picture
            path.write_bytes(jpeg(open_image(str(plan.grounded.keyframe))))
            picture = Picture(image_size(str(plan.grounded.keyframe)), None)
        else:
            seconds, content = cut[moment]
            path.write_bytes(content)
            picture = Picture(image_size(str(path)), round(seconds + late, 3))
        tasks[plan.name] = Task(plan.where, plan.text, ruler, picture, plan.row), path
        remarks = {UNEVEN: not ruler.even and not late, LATE: bool(late), COPIED: shown.copied}
        for remark in [what for what, holds in remarks.items() if holds]:
            account.note(remark, plan.row.where)
        if plan.grounded.keyframe is None:
            account.note(NO_KEYFRAME, plan.row.where)
    return tasks


def _moment(row: GroundedRow, last: float) -> float | None:
    """Which moment the row's picture is of, seconds after the first frame; None for a keyframe that is an image."""
    if isinstance(row.keyframe, str):
        return None
    if row.keyframe is not None:
        return row.keyframe
    start, end = row.events[0] if row.events else (0.0, last)
    return (start + end) / 2
