"""The demo's world: truth is what the scene says, splits share nothing, and a prior is often wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from vistadpo_plugin.demo.counterfactual import counterfactual, holds_in_rejected_view
from vistadpo_plugin.demo.shapes import ACTIONS, COLOURS, FPS, LEFT, SHAPES, fits, read_frames
from vistadpo_plugin.demo.splits import DEV, TEST, TRAIN, scenes, write_split
from vistadpo_plugin.demo.world import ASKED, DOES, FRAMES, KINDS, STILL, SUBSETS, TYPICAL_ACTIONS, ask, pairs
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


def test_a_counterfactual_is_the_same_video_but_for_what_makes_the_wrong_answer_true() -> None:
    for index, scene in enumerate(SCENES[:60]):
        rng = random.Random(index)
        for kind in KINDS:
            for yes in (True, False):
                asked = ask(scene, kind, rng, yes)
                other = counterfactual(scene, asked, rng)
                assert other.background == scene.background and abs(len(other.actors) - len(scene.actors)) <= 1
                for place, actor in enumerate(other.actors):
                    assert fits(actor, [mate for mate in other.actors if mate is not actor]), place
                if kind in SUBSETS:
                    assert truth(scene, asked.prompt) is yes and truth(other, asked.prompt) is not yes
                elif kind == "which":
                    assert asked.wrong.startswith(other.actors[0].colour.capitalize())
                    assert other.actors[0].start < other.actors[1].start
                else:
                    (actor,) = [actor for actor in other.actors if actor.colour == asked.actor.colour]
                    assert asked.wrong.lower() == f"{DOES[actor.action]}."


def test_what_holds_in_a_rejected_view_is_a_no() -> None:
    for index, scene in enumerate(SCENES[:60]):
        rng = random.Random(index)
        for kind in KINDS:
            for yes in (True, False):
                asked = ask(scene, kind, rng, yes)
                says_no = asked.truth.startswith("No")
                wanted = ["video", "clip"] if says_no and kind == "action" else ["video"] if says_no else []
                assert holds_in_rejected_view(asked) == wanted


def test_variants_are_the_same_rows_with_one_field_more(tmp_path: Path) -> None:
    write_split(tmp_path, TRAIN, 6, variants=("counterfactual", "holds"))
    plain, other, holds = (
        [json.loads(line) for line in (tmp_path / f"train{name}.jsonl").read_text().splitlines()]
        for name in ("", "_counterfactual", "_holds")
    )
    assert len(plain) == 12
    for row, with_video, with_terms in zip(plain, other, holds, strict=True):
        video = with_video.pop("rejected_video")
        assert (tmp_path / video).is_file() and video != row["video"]
        assert with_terms.pop("holds_in_rejected_view", None) or not row["chosen"].startswith("No")
        assert with_video == with_terms == row


def test_a_split_of_some_kinds_asks_about_them_alone(tmp_path: Path) -> None:
    write_split(tmp_path, TEST, 1)
    split = write_split(tmp_path, TEST, 8, kinds=("attribute", "presence"))
    rows = [json.loads(line) for line in split.rows.read_text().splitlines()]
    assert [row["id"].split("-")[-1] for row in rows].count("attribute") == 8 and len(rows) == 16  # two rows, two kinds
    assert {path.stem: len(json.loads(path.read_text())) for path in split.annotations.iterdir()} == {
        "attribute": 8, "presence": 8
    }  # fmt: skip
    with pytest.raises(ValueError, match="rows 1 to 2, got 8 and 3"):
        write_split(tmp_path, TEST, 8, rows=3, kinds=("attribute", "presence"))


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
        said, verdict = row["rejected_irrelevant"], row["chosen"].split()[0]
        if kind == "attribute":
            assert said.startswith(("Yes, it is", "No, it is")) and not said.startswith(verdict)
        else:  # of the same kind, and of nothing that is in the video
            assert not any(actor.colour in said.lower() or DOES[actor.action] in said.lower() for actor in scene.actors)
            assert said.startswith(("Yes, ", "No, ")) is (kind in SUBSETS)
        assert said not in (row["chosen"], row["rejected"])
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
