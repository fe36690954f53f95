"""What the name depends on, under which a row's scores on a view are kept; and what it does not depend on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.score_keys import score_keys
from vistadpo_plugin.data.views.views import ViewBuilder

ALL = {"full", "video_negative", "clip", "clip_negative", "keyframe", "keyframe_negative"}


@pytest.fixture
def row(tmp_path: Path) -> dict[str, Any]:
    """A row with every kind of file, and a mate."""
    for name in ("own.mp4", "clip.png", "negative.png", "key.png", "mate.mp4", "image.png", "second.mp4", "frame.png"):
        (tmp_path / name).write_bytes(name.encode())
    grounding = GroundedRow(
        "7",
        "rows.jsonl:1 (id 7)",
        str(tmp_path / "own.mp4"),
        events=((1.0, 2.0),),
        clip_images=(str(tmp_path / "clip.png"),),
        clip_negative_images=(str(tmp_path / "negative.png"),),
        keyframe=str(tmp_path / "key.png"),
        boxes=((1.0, 2.0, 3.0, 4.0),),
    )
    columns = {
        "where": "rows.jsonl:1 (id 7)",
        "grounded": grounding.to_json(),
        "prompt": '{"messages": []}',
        "images": json.dumps([str(tmp_path / "image.png")]),
        "videos": json.dumps([str(tmp_path / "second.mp4"), [str(tmp_path / "frame.png")]]),
        "chosen_ids": [1, 2, 3],
        "rejected_ids": [1, 2],
        "irrelevant_ids": [],
        "more_rejected": "",
        "rejected_weights": "",
        "phrases": "",
        "text_tokens": 12,
        "error": "",
    }
    mate = GroundedRow("8", "rows.jsonl:2 (id 8)", str(tmp_path / "mate.mp4"))
    return {"row": columns, "grounding": grounding, "mate": mate}


@pytest.fixture
def keys(vista: Callable[..., Any], row: dict[str, Any]) -> Callable[..., dict[str, str]]:
    """The keys of the row by view, with changes to the recipe or to the arguments of `score_keys`."""

    def made(seed: int = 1, recipe: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
        views = ViewBuilder(ViewKeys.of(vista(**(recipe or {}))), 2.0, 8, None, lambda image: image, seed)
        return score_keys(**{**row, **changes}, views=views)

    return made


def others(one: dict[str, str], two: dict[str, str]) -> set[str]:
    """Views that have another key, or none any more."""
    return {view for view in one.keys() | two.keys() if one.get(view) != two.get(view)}


def test_the_same_row_has_the_same_keys_and_each_view_its_own(keys: Callable[..., dict[str, str]]) -> None:
    assert keys() == keys() and keys().keys() == ALL
    assert len(set(keys().values())) == 6


ANSWERS = ("chosen_ids", "rejected_ids", "irrelevant_ids", "more_rejected", "phrases")


@pytest.mark.parametrize("column", ["where", "grounded", "prompt", *ANSWERS])
def test_all_views_depend_on_the_column(keys: Callable[..., dict[str, str]], row: dict[str, Any], column: str) -> None:
    value = row["row"][column]
    changed = [*value, 4] if isinstance(value, list) else value + " "
    assert others(keys(), keys(row={**row["row"], column: changed})) == ALL


def test_no_view_depends_on_how_answers_are_weighed(keys: Callable[..., dict[str, str]], row: dict[str, Any]) -> None:
    listed = {**row["row"], "more_rejected": "[[1, 2]]"}
    assert keys(row={**listed, "rejected_weights": "[0.5, 0.5]"}) == keys(
        row={**listed, "rejected_weights": "[0.9, 0.1]"}
    )


def test_one_answer_is_not_mistaken_for_another(keys: Callable[..., dict[str, str]], row: dict[str, Any]) -> None:
    swapped = {"chosen_ids": row["row"]["rejected_ids"], "rejected_ids": row["row"]["chosen_ids"]}
    assert others(keys(), keys(row={**row["row"], **swapped})) == ALL


@pytest.mark.parametrize(
    "name", ["own.mp4", "clip.png", "negative.png", "key.png", "mate.mp4", "image.png", "second.mp4", "frame.png"]
)
def test_size_and_time_of_every_file_count(keys: Callable[..., dict[str, str]], tmp_path: Path, name: str) -> None:
    """Those of the row for all its views, those of the mate for the view that shows it."""
    before, path = keys(), tmp_path / name
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    touched = keys()
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    concerned = {"video_negative"} if name == "mate.mp4" else ALL
    assert others(before, touched) == others(before, keys()) == others(touched, keys()) == concerned


def test_every_frame_of_a_mate_counts(keys: Callable[..., dict[str, str]], row: dict[str, Any], tmp_path: Path) -> None:
    frames = [tmp_path / f"{number}.jpg" for number in range(3)]
    for frame in frames:
        frame.write_bytes(b"frame")
    mate = replace(row["mate"], video=tuple(map(str, frames)))
    made = [keys(mate=mate)]
    for frame in frames:
        frame.write_bytes(b"another")
        made.append(keys(mate=mate))
    assert len({one["video_negative"] for one in made}) == 4 and len({one["full"] for one in made}) == 1


def test_of_the_mate_its_video_counts_and_nothing_else(
    keys: Callable[..., dict[str, str]], row: dict[str, Any]
) -> None:
    """Another row of the same video shows the same."""
    assert others(keys(), keys(mate=replace(row["mate"], where="rows.jsonl:3", events=((0.0, 1.0),)))) == set()
    assert others(keys(), keys(mate=replace(row["mate"], video=row["grounding"].video))) == {"video_negative"}


@pytest.mark.parametrize(
    ("field", "view"),
    [("rejected_videos", "video_negative"), ("rejected_clips", "clip_negative"),
     ("rejected_keyframes", "keyframe_negative")],
)  # fmt: skip
def test_a_rejected_view_of_the_rows_own_counts_for_that_view_alone(
    keys: Callable[..., dict[str, str]], row: dict[str, Any], tmp_path: Path, field: str, view: str
) -> None:
    """Given, exchanged, or its file changed; and the other ones that it was drawn among do not count."""
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.write_bytes(b"one")
    two.write_bytes(b"two")

    def with_own(*own: Path, drawn: Path) -> dict[str, str]:
        written = replace(row["grounding"], **{field: tuple(map(str, own))})
        columns = {**row["row"], "grounded": written.to_json()}
        return keys(row=columns, grounding=replace(written, **{field: (str(drawn),)}))

    first = with_own(one, drawn=one)
    assert others(keys(), first) == others(first, with_own(two, drawn=two)) == {view}
    assert others(first, with_own(one, two, drawn=one)) == set()
    one.write_bytes(b"another")
    assert others(first, with_own(one, drawn=one)) == {view}


def test_where_the_answer_holds_changes_no_score(keys: Callable[..., dict[str, str]], row: dict[str, Any]) -> None:
    grounding = replace(row["grounding"], holds=("video",))
    assert keys(row={**row["row"], "grounded": grounding.to_json()}, grounding=grounding) == keys()


def test_a_row_with_a_rejected_video_needs_no_mate(
    keys: Callable[..., dict[str, str]], row: dict[str, Any], tmp_path: Path
) -> None:
    grounding = replace(row["grounding"], rejected_videos=(str(tmp_path / "second.mp4"),))
    assert keys(grounding=grounding, mate=None) == keys(grounding=grounding)


def test_without_a_mate_there_is_no_view_of_it(keys: Callable[..., dict[str, str]]) -> None:
    assert keys(mate=None).keys() == ALL - {"video_negative"}
    assert others(keys(), keys(mate=None)) == {"video_negative"}
    both = {"vista_clip_negative": "other"}
    assert keys(recipe=both, mate=None).keys() == ALL - {"video_negative", "clip_negative"}
    assert keys(recipe={"vista_video_negative": "black"}, mate=None).keys() == ALL


@pytest.mark.parametrize("kind", ["noise", "shuffle"])
def test_the_seed_counts_where_a_view_is_drawn(keys: Callable[..., dict[str, str]], kind: str) -> None:
    assert keys(seed=1) == keys(seed=2)
    for view in ("video", "clip", "object"):
        if (view, kind) == ("object", "shuffle"):
            continue  # one frame
        recipe = {f"vista_{view}_negative": kind}
        drawn = {"object": "keyframe"}.get(view, view) + "_negative"
        assert others(keys(seed=1, recipe=recipe), keys(seed=2, recipe=recipe)) == {drawn}


@pytest.mark.parametrize(
    ("changes", "concerned"),
    [
        ({"vista_video_negative": "reverse"}, {"video_negative"}),
        ({"vista_clip_negative": "other"}, {"clip_negative"}),
        ({"vista_object_negative": "move"}, {"keyframe_negative"}),
        ({"vista_mask_fill": "white"}, {"keyframe_negative"}),
        ({"vista_clip_frames": 4}, {"clip", "clip_negative"}),
        ({"vista_video_weight": 0.0, "vista_token_alpha": 0.1}, set()),
    ],
)
def test_keys_of_the_recipe_count_for_the_views_they_change(
    keys: Callable[..., dict[str, str]], changes: dict[str, Any], concerned: set[str]
) -> None:
    assert others(keys(), keys(recipe=changes)) == concerned


def test_a_row_of_text_has_one(keys: Callable[..., dict[str, str]], row: dict[str, Any]) -> None:
    columns = {**row["row"], "grounded": "", "images": "", "videos": ""}
    (key,) = keys(row=columns, grounding=None, mate=None).items()
    assert key[0] == "full" and key[1] != keys()["full"]
