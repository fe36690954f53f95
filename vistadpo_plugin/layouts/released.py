"""Rows in VistaDPO-7k's released layout: clips and keyframe as folders of frames, one box as a string."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vistadpo_plugin.data.rows.grounding import GroundedRow, ground
from vistadpo_plugin.data.rows.schema import Row, RowError, parse_row
from vistadpo_plugin.data.rows.values import read_box
from vistadpo_plugin.data.video.video import FrameSource, VideoError
from vistadpo_plugin.datasets.accounting import Account
from vistadpo_plugin.layouts.cut import Cut, copy_image, has_images, inside_cut, keyframe_cut, outside_cut, write_cuts
from vistadpo_plugin.layouts.fields import in_order, released_box, to_native
from vistadpo_plugin.layouts.paths import FolderNames, Rebase

ORDER = ("id", "video", "prompt", "chosen", "rejected", "rejected_2", "bbox", "clip_w", "clip_l", "frame")

HELD = ("chosen", "rejected", "rejected_irrelevant")
"""The answers that the layout has a place for."""

LOST_SECONDS = "its event is frames now, the seconds are not kept"
LOST_EVENTS = "several events: clip_w holds their frames as one clip"
LOST_EVENT = "an event without clip folders: clip_w and clip_l go together"
LOST_KEYFRAME = "its keyframe is an image now, the second is not kept"
LOST_BOXES = "several boxes: bbox holds one, the largest is kept"
LOST_REJECTED = "several rejected answers: rejected holds one, the first is kept"
LOST_LIST = "a list of frames: video is a folder of copies now"


@dataclass
class _Plan:
    """What one row becomes, and the folders to fill for it."""

    row: dict[str, Any]
    where: str
    source: FrameSource
    cuts: list[Cut] = field(default_factory=list)
    copies: list[tuple[Path, Path]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def folders(self) -> list[Path]:
        return list(dict.fromkeys([cut.folder for cut in self.cuts] + [folder for folder, _ in self.copies]))


def convert_to_released(
    sources: list[tuple[str, dict[str, Any]]], folder: Path, media_dir: Path, fps: float, overwrite: bool,
    account: Account,
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of (place, row) in the released layout; frames are written below `folder`.

    Clips get `fps` frames a second; a folder or list of frames is taken to show as many. A row that cannot be read is
    left out in `account`, and what the layout cannot hold is noted there. Raises ValueError before anything is written
    when folders hold images already and `overwrite` is false.
    """
    names, rebase = FolderNames(), Rebase(media_dir, folder)
    plans: list[_Plan] = []
    for where, source in sources:
        try:
            row = parse_row(source, where)
            grounded = ground(row, str(media_dir), fps)
        except RowError as error:
            account.leave_out(error.kind or "unusable", error.where, error.message)
            continue
        plans.append(_plan(source, row, grounded, folder, names.give(row.id), rebase, fps))

    full = [path for plan in plans for path in plan.folders if has_images(path)]
    if full and not overwrite:
        raise ValueError(
            f"{full[0]} holds images already ({len(full)} such folders); give --overwrite to replace them."
        )
    kept = _write(plans, account)
    for plan in kept:
        for remark in plan.lost:
            account.note(remark, plan.where)
    return [plan.row for plan in kept]


def _write(plans: list[_Plan], account: Account) -> list[_Plan]:
    """Fill the folders of all plans, video by video; the plans whose video could be read."""
    by_video: dict[FrameSource, list[_Plan]] = defaultdict(list)
    for plan in plans:
        by_video[plan.source].append(plan)
    failed: set[str] = set()
    with tqdm(total=len(plans), desc="cutting frames", unit="row", disable=None) as bar:
        for source, members in by_video.items():
            cutting = [plan for plan in members if plan.cuts]
            try:
                if cutting:
                    write_cuts(source, [cut for plan in cutting for cut in plan.cuts])
            except (VideoError, OSError) as error:
                for plan in cutting:
                    account.leave_out("unreadable-file", plan.where, str(error))
                    failed.add(plan.where)
            for plan in members:
                for path, image in plan.copies:
                    copy_image(path, image)
            bar.update(len(members))
    return [plan for plan in plans if plan.where not in failed]


def _plan(
    source: dict[str, Any], row: Row, grounded: GroundedRow, folder: Path, name: str, rebase: Rebase, fps: float
) -> _Plan:
    made = to_native(source, rebase)
    plan = _Plan(made, row.where, FrameSource(grounded.video, fps))
    made["id"] = row.id
    if isinstance(made["rejected"], list):
        made["rejected"] = row.rejected
        made.pop("rejected_weights", None)
        if "phrases" in made:
            made["phrases"] = {name: made["phrases"][name] for name in made["phrases"] if name in HELD}
        plan.lost += [LOST_REJECTED] if row.more_rejected else []
    if "rejected_irrelevant" in made:
        made["rejected_2"] = made.pop("rejected_irrelevant")
    _plan_video(plan, grounded, folder, name)
    _plan_clips(plan, row, grounded, folder, name, fps)
    _plan_keyframe(plan, row, grounded, folder, name)
    box = made.pop("box", None)
    if row.boxes:
        made["bbox"] = released_box(max(row.boxes, key=lambda box: box[2] * box[3]))
        if len(row.boxes) > 1:
            plan.lost.append(LOST_BOXES)
    elif row.has_box:  # one without an area stays what it was
        made["bbox"] = released_box(read_box(box[0] if isinstance(box[0], list | dict | str) else box))
    plan.row = in_order(made, ORDER)
    return plan


def _plan_video(plan: _Plan, grounded: GroundedRow, folder: Path, name: str) -> None:
    if isinstance(plan.row["video"], list):
        place = Path("video") / name
        plan.cuts.append(Cut(folder / place, lambda times: list(range(len(times)))))
        plan.row["video"] = place.as_posix()
        plan.lost.append(LOST_LIST)


def _plan_clips(plan: _Plan, row: Row, grounded: GroundedRow, folder: Path, name: str, fps: float) -> None:
    if plan.row.pop("event", None) is None or not row.events:
        return
    cuts = {"clip_w": inside_cut, "clip_l": outside_cut}
    if row.rejected_clips:  # in place of clip_l
        del cuts["clip_l"]
    elif grounded.outside is None:
        plan.lost.append(LOST_EVENT)
        return
    for field_name, cut in cuts.items():
        place = Path("clip") / field_name / name
        plan.cuts.append(cut(folder / place, grounded, fps))
        plan.row[field_name] = place.as_posix()
    plan.lost += [LOST_SECONDS, *([LOST_EVENTS] if len(row.events) > 1 else [])]


def _plan_keyframe(plan: _Plan, row: Row, grounded: GroundedRow, folder: Path, name: str) -> None:
    keyframe = plan.row.pop("keyframe", None)
    if keyframe is None:
        return
    place = Path("frame") / name
    if isinstance(grounded.keyframe, float):
        plan.cuts.append(keyframe_cut(folder / place, grounded.keyframe))
        plan.lost.append(LOST_KEYFRAME)
    elif Path(grounded.keyframe).name == Path(keyframe).name:  # an image itself, where the layout has a folder
        plan.copies.append((folder / place, Path(grounded.keyframe)))
    else:
        plan.row["frame"] = keyframe
        return
    plan.row["frame"] = place.as_posix()
