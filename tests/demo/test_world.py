"""The demo's world: truth is what the scene says, splits share nothing, and a prior is often wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from vistadpo_plugin.demo.shapes import ACTIONS, COLOURS, FPS, LEFT, SHAPES, read_frames
from vistadpo_plugin.demo.splits import DEV, TEST, TRAIN, scenes, write_split
from vistadpo_plugin.demo.world import ASKED, FRAMES, KINDS, STILL, SUBSETS, TYPICAL_ACTIONS, ask, pairs
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS

SCENES = [scene for scene, _ in scenes(TRAIN, 200, seed=0)]


def test_one_acts_in_each_half_and_a_third_stands_still() -> None:
    for scene in SCENES:
        first, second, *rest = scene.actors
        assert 0 < first.start < first.end < FRAMES // 2 < second.start < second.end < FRAMES
        assert len({actor.colour for actor in scene.actors}) == len(scene.actors)
        for actor in rest:
            assert actor.action == STILL and len({actor.box(frame) for frame in range(FRAMES)}) == 1


def test_every_action_shows_in_the_eight_frames_that_a_model_sees() -> None:
    """A shape that acts is not the same in all frames of its half: it moves, grows, or is gone in one of them."""
    seen = np.linspace(0, FRAMES - 1, 8).astype(int)
    for scene in SCENES:
        for half, actor in ((seen[:4], scene.actors[0]), (seen[4:], scene.actors[1])):
            assert len({(actor.box(frame), actor.visible(frame)) for frame in half}) > 1, actor


def truth(scene, prompt: str) -> bool:
    """Whether yes is right, read off the scene by the words of the question alone."""
    words = prompt.rstrip("?").split()
    by_colour = {actor.colour: actor for actor in scene.actors}
    if words[0] == "Is" and words[1] == "there":
        colour, shape = words[3:]
        return colour in by_colour and by_colour[colour].shape == shape
    if words[0] == "Is":
        return by_colour[words[2]].shape == words[-1]
    if "before" in words:
        return by_colour[words[2]].start < by_colour[words[-2]].start
    (action,) = [action for action, asked in ASKED.items() if prompt.endswith(f" {asked}?")]
    return by_colour[words[2]].action == action


def test_yes_and_no_are_the_scenes_own() -> None:
    rng = random.Random(3)
    for scene in SCENES:
        found = list(pairs(scene, rng))
        assert [basic.kind for basic, _ in found] == list(SUBSETS)
        for pair in found:
            for asked, expected in zip(pair, (True, False), strict=True):
                assert asked.yes is expected is truth(scene, asked.prompt), asked
                assert asked.truth.startswith("Yes, " if expected else "No, ")
                assert asked.wrong.startswith("No, " if expected else "Yes, ")


def test_open_questions_name_what_happens() -> None:
    rng = random.Random(4)
    for scene in SCENES:
        what, which = ask(scene, "what", rng), ask(scene, "which", rng)
        assert what.truth == f"{ACTIONS[what.actor.action].capitalize()}."
        assert what.wrong in {f"{action.capitalize()}." for action in ACTIONS.values()} - {what.truth}
        assert which.truth.split()[0].lower() == scene.actors[0].colour
        assert which.wrong.split()[0].lower() == scene.actors[1].colour


def test_the_prior_says_yes_to_what_is_there_and_mostly_to_what_is_not() -> None:
    """By hand: an action or an object asked about is typical in three of four questions about something false, an order
    in half; a shape is not whenever the typical one is there and no other shape can be asked about."""
    rng = random.Random(5)
    fooled = {subset: [] for subset in SUBSETS}
    for scene in (scene for scene, _ in scenes("prior", 1500, seed=0)):
        for basic, other in pairs(scene, rng):
            assert basic.prior == basic.truth
            assert other.prior in (other.truth, other.wrong)
            fooled[other.kind].append(other.prior == other.wrong)
    shares = {subset: sum(found) / len(found) for subset, found in fooled.items()}
    assert shares["action"] == pytest.approx(0.75, abs=0.04)
    assert shares["presence"] == pytest.approx(0.75, abs=0.04)
    assert shares["order"] == pytest.approx(0.5, abs=0.04)
    assert 0.5 < shares["attribute"] < 0.75


def test_truth_does_not_follow_the_prior() -> None:
    """Actions are even among the six: two of six are typical of any colour, and the ranks order half of the pairs."""
    actors = [actor for scene, _ in scenes("even", 1500, seed=0) for actor in scene.actors[:2]]
    typical = [actor.action in TYPICAL_ACTIONS[actor.colour] for actor in actors]
    assert np.mean(typical) == pytest.approx(1 / 3, abs=0.035)


def test_splits_share_no_video_and_repeat() -> None:
    drawn = {
        name: [scene for scene, _ in scenes(split, 300, seed)]
        for name, split, seed in (("train", TRAIN, 0), ("dev", DEV, 0), ("test", TEST, 0), ("other seed", TRAIN, 1))
    }
    everything = [scene.actors for found in drawn.values() for scene in found]
    assert len(set(everything)) == len(everything)
    assert [scene for scene, _ in scenes(TRAIN, 5, 0)] == drawn["train"][:5]


def test_rows_and_questions_on_disk(tmp_path: Path) -> None:
    split = write_split(tmp_path, TEST, 12, seed=2, rows=4)
    rows = [json.loads(line) for line in split.rows.read_text().splitlines()]
    assert len(rows) == 48 and len({row["id"] for row in rows}) == 48
    made = {f"test-2-{index:04d}": scene for index, (scene, _) in enumerate(scenes(TEST, 12, 2))}
    for row in rows:
        *stem, _, kind = row["id"].split("-")
        scene = made["-".join(stem)]
        assert kind in KINDS and row["chosen"] != row["rejected"]
        assert ("event" in row) is (kind in ("what", "action"))
        absent = set(COLOURS) - {actor.colour for actor in scene.actors}
        assert row["rejected_irrelevant"].split()[1] in absent
        if kind in ("order", "which"):
            assert "box" not in row and "keyframe" not in row
        if "box" in row:  # the keyframe's pixels in the middle of the box have the shape's colour
            frame = read_frames(tmp_path / row["video"], FRAMES)[round(row["keyframe"] * FPS)]
            x, y, w, h = row["box"]
            (actor,) = [actor for actor in scene.actors if list(actor.box(actor.keyframe)) == row["box"]]
            assert x >= LEFT
            assert np.abs(frame[y + h // 2, x + w // 2].astype(int) - COLOURS[actor.colour]).max() < 40
        if "event" in row:
            assert [round(time * FPS) for time in row["event"]] == [actor.start, actor.end]
    questions = BENCHMARKS["shapes"].questions(split.annotations)
    assert len(questions) == 12 * len(SUBSETS) * 2
    assert all((split.videos / question.video).is_file() for question in questions)
    assert {question.subset for question in questions} == set(SUBSETS)
    assert all(shape in " ".join(question.prompt for question in questions) for shape in SHAPES)


def test_always_yes_scores_as_videohallucer_has_it(tmp_path: Path) -> None:
    questions = BENCHMARKS["shapes"].questions(write_split(tmp_path, TEST, 3).annotations)
    score = BENCHMARKS["shapes"].score(questions, {question.id: "Yes, it does." for question in questions})
    totals = [score.figures[f"total/{kind}"].value for kind in ("basic", "hallucination", "overall")]
    assert totals == [100, 0, 0] and score.notes == []


@pytest.mark.parametrize(("videos", "rows"), [(0, 2), (1, 0), (1, 7)])
def test_nonsense_is_refused(tmp_path: Path, videos: int, rows: int) -> None:
    with pytest.raises(ValueError, match="videos has to be 1 or more and rows 1 to 6"):
        write_split(tmp_path, TRAIN, videos, rows=rows)
