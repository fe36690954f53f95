"""How the demo's base is made: what a tower is told is in the pixels, and shared rows teach what single rows would."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from vistadpo_plugin.demo.base_build import IMAGE_SIZE, PATCH, Steps, base_folder, build_base
from vistadpo_plugin.demo.base_language import _logits, _pack, questions
from vistadpo_plugin.demo.base_tower import CELLS, encode, look, seen_frames
from vistadpo_plugin.demo.shapes import COLOURS, LEFT, SHAPES
from vistadpo_plugin.demo.splits import scenes
from vistadpo_plugin.demo.tiny_model import IGNORED, encode_turn

GRID = IMAGE_SIZE // PATCH
SCENES = [scene for scene, _ in scenes("test of the base", 6, 0)]


@pytest.fixture(scope="module")
def base():
    from transformers import AutoModelForImageTextToText, AutoProcessor

    return AutoModelForImageTextToText.from_pretrained(base_folder()).eval(), AutoProcessor.from_pretrained(
        base_folder()
    )


def test_what_the_tower_is_told_is_in_the_scene(base) -> None:
    _, cells, states = look(SCENES, base[1], GRID)
    side = 120 / (GRID * CELLS)
    for scene, painted, told in zip(SCENES, cells.numpy(), states.numpy(), strict=True):
        for place, number in enumerate(seen_frames(scene)):
            grid = painted[place].reshape(GRID, GRID, CELLS, CELLS).swapaxes(1, 2).reshape(GRID * CELLS, -1)
            there = {actor.colour: actor for actor in scene.actors if actor.visible(number)}
            for index, colour in enumerate(COLOURS):
                assert (told[place, index, 0] > 0) == (colour in there) == bool((grid == 1 + index).any())
                if colour in there:
                    x, y, w, h = there[colour].box(number)
                    assert SHAPES[told[place, index, 0] - 1] == there[colour].shape
                    rows, columns = np.nonzero(grid == 1 + index)
                    assert abs((columns.mean() + 0.5) * side - (x - LEFT + w / 2)) < side
                    assert abs((rows.mean() + 0.5) * side - (y + h / 2)) < 1.5 * side  # a triangle is heavier below


def test_questions_that_share_a_video_score_as_they_would_alone(base) -> None:
    """The model's own forward, one question a row, is the other way to the same logits."""
    model, processor = base
    rng, tokenizer = random.Random(0), processor.tokenizer
    pixels, _, _ = look(SCENES[:2], processor, GRID)
    features = encode(model, processor, pixels)
    turns = [[(asked.prompt, asked.truth) for asked in questions(scene, rng)] for scene in SCENES[:2]]
    with torch.no_grad():
        packed = _logits(model, _pack(tokenizer, turns, features.shape[1]), features)
        for video, about in zip(pixels, turns, strict=True):
            shown = video[None].float() / 255 - torch.tensor(processor.video_processor.image_mean)[:, None, None]
            shown = shown / torch.tensor(processor.video_processor.image_std)[:, None, None]
            for prompt, answer in about:
                ids, target = encode_turn(tokenizer, prompt, answer, features.shape[1])
                alone = model(input_ids=torch.tensor([ids + target]), pixel_values_videos=shown).logits[0]
                alone = alone[len(ids) - 1 : -1]
                torch.testing.assert_close(packed[: len(target)], alone, atol=2e-4, rtol=1e-4)
                packed = packed[len(target) :]
    assert len(packed) == 0 and IGNORED == -100


def test_a_rebuild_is_the_same_model_of_the_same_kind(tmp_path) -> None:
    """A few steps: shape and vocabulary are those of what ships, and the same seed gives the same bytes."""
    steps = Steps(videos=8, tower=2, truth=(2, 1), prior=1)
    for name in ("one", "two"):
        build_base(tmp_path / name, steps, seed=3)
    one, two, ships = (
        (folder / "model.safetensors").read_bytes() for folder in (tmp_path / "one", tmp_path / "two", base_folder())
    )
    assert one == two and len(one) == len(ships) and one != ships
    for name in ("tokenizer.json", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (base_folder() / name).read_bytes()
    assert "2 steps of the tower on 8 videos" in (tmp_path / "one" / "README.md").read_text()
