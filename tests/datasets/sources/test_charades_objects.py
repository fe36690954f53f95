"""Boxes of Action Genome and of STAR joined to Charades-STA's events."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from star_made import star_question

from vistadpo_plugin.datasets.sources.intervals.events import Event
from vistadpo_plugin.datasets.sources.intervals.objects import ground_object, read_action_genome, read_star_boxes


def box(name: str, sides: Any, visible: bool = True) -> dict[str, Any]:
    """One object of a frame, as in the README of Action Genome."""
    return {
        "class": name, "bbox": sides, "attention_relationship": ["looking_at"], "spatial_relationship": ["in_front_of"],
        "contacting_relationship": ["holding"], "visible": visible, "metadata": {"tag": "", "set": "train"},
    }  # fmt: skip


FRAMES = {
    "AAAAA.mp4/000012.png": [box("book", (5.0, 6.0, 15.5, 24.0)), box("shelf", (30.0, 1.0, 20.0, 40.0))],
    "AAAAA.mp4/000021.png": [box("book", (6.0, 7.0, 16.0, 24.0)), box("sofa/couch", (0.0, 20.0, 60.0, 20.0))],
    "AAAAA.mp4/000024.png": [box("book", None, visible=False), box("shelf", (31.0, 2.0, 20.0, 40.0))],
    "BBBBB.mp4/000001.png": [box("phone/camera", (1.0, 1.0, 8.0, 9.0))],
}


def write_genome(folder: Path, content: Any = FRAMES) -> Path:
    path = folder / "object_bbox_and_relationship.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def ground(folder: Path, said: str, rate: float | None = 10.0, video: str = "AAAAA") -> Any:
    event = Event("e", video, said, ((1.0, 3.0),), (1.0, 3.0))
    return ground_object(event, read_action_genome(write_genome(folder)), lambda name: rate)


@pytest.mark.parametrize(
    ("said", "keyframe", "sides"),
    [
        # Frame n is at (n - 1) / 10 s and the middle of the event at 2 s; x, y, width and height stay what they are.
        ("A person is putting a book on a shelf.", 2.0, (6.0, 7.0, 16.0, 24.0)),
        ("Person opens books.", 2.0, (6.0, 7.0, 16.0, 24.0)),
        ("Person sits on the couch.", 2.0, (0.0, 20.0, 60.0, 20.0)),
        ("Person takes a towel from the shelf.", 2.3, (31.0, 2.0, 20.0, 40.0)),  # no towel is boxed; frame 24
    ],
)  # fmt: skip
def test_the_first_object_that_is_named_and_boxed(
    tmp_path: Path, said: str, keyframe: float, sides: tuple[float, ...]
) -> None:
    assert ground(tmp_path, said) == (keyframe, (sides,), ())


@pytest.mark.parametrize(
    ("said", "changes", "reason"),
    [
        ("Person laughs.", {}, "the sentence names no object class"),
        ("Person takes a towel.", {}, "the object has no box in any annotated frame"),
        ("Person takes a book.", {"video": "CCCCC"}, "the object has no box in any annotated frame"),
        ("Person takes a book.", {"rate": None}, "the video's frame rate is not known; give --fps or the videos"),
        ("Person takes a book.", {"rate": 60.0}, "no annotated frame lies between start and end at this frame rate"),
    ],
)
def test_no_box_for_a_counted_reason(tmp_path: Path, said: str, changes: dict[str, Any], reason: str) -> None:
    assert ground(tmp_path, said, **changes) == (None, (), (f"no keyframe and box: {reason}",))


def test_star_holds_the_same_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([star_question("Interaction_T1_1", video_id="AAAAA")]))
    more = star_question("Interaction_T1_2", video_id="AAAAA", situations={"000016": {"bbox_labels": [], "bbox": []}})
    (tmp_path / "b.json").write_text(json.dumps([more, star_question("Interaction_T1_3", situations=None)]))
    found = read_star_boxes([tmp_path / "a.json", tmp_path / "b.json"])
    assert set(found["AAAAA"]) == {"000012", "000016", "000021", "000024", "000028"}
    event = Event("e", "AAAAA", "Person tidies clothes.", ((1.0, 3.0),), (1.0, 3.0))
    assert ground_object(event, found, lambda name: 10.0) == (2.0, ((6.0, 7.0, 16.0, 24.0),), ())
    (tmp_path / "c.json").write_text("[{}]")
    with pytest.raises(ValueError, match="c.json is not STAR's"):
        read_star_boxes([tmp_path / "c.json"])


class Runs:
    """A pickle of it runs a command when it is loaded as usual."""

    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize("content", [Runs(), {"a/b": [Runs()]}, [], {"nothing": []}, {"a/b": [{}]}])
def test_a_pickle_runs_nothing_and_other_files_are_refused(
    tmp_path: Path, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"is not Action Genome's object_bbox_and_relationship.pkl \("):
        read_action_genome(write_genome(tmp_path, content))
    assert "run" not in capsys.readouterr().out
