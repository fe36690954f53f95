"""Replies are the host's own, frames those of training, and a batch answers as one question at a time does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from capture import FirstBatch
from conftest import FRAMES, Demo, run_recipe, tiny_recipe
from data.barcode_video import codes, draw, write_video
from scoring.test_scorer import views_of_sequences
from tiny_qwen import PIXELS, build_tiny_qwen

from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.rows.schema import RowError
from vistadpo_plugin.evaluation.inference import Responder, _why_not_stacked
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.videos import viewed

NEW_TOKENS = 12
PROMPTS = ("What?", "Which shape moves to the left?\nPlease answer yes or no:", "Is it?", "What colour is the square?")


@pytest.fixture(scope="module")
def keys(demo: Demo) -> dict[str, Any]:
    return {"model_name_or_path": str(demo.model), "template": "video_llava", "video_maxlen": FRAMES}


@pytest.fixture(scope="module")
def responder(keys: dict[str, Any]) -> Responder:
    return Responder(keys, NEW_TOKENS)


def rows(demo: Demo) -> list[GroundedRow]:
    videos = sorted((demo.data / "videos").glob("*.mp4"))[: len(PROMPTS)]
    return [GroundedRow(video.stem, video.stem, str(video)) for video in videos]


def ask_all(responder: Responder, demo: Demo) -> list[dict[str, Any]]:
    return [responder.prepare(prompt, row) for prompt, row in zip(PROMPTS, rows(demo), strict=True)]


def test_replies_are_those_of_the_hosts_chat(responder: Responder, keys: dict[str, Any], demo: Demo) -> None:
    from llamafactory.chat import ChatModel

    chat = ChatModel({**keys, "do_sample": False, "max_new_tokens": NEW_TOKENS})
    for prompt, row, prepared in zip(PROMPTS, rows(demo), ask_all(responder, demo), strict=True):
        (theirs,) = chat.chat([{"role": "user", "content": f"<video>\n{prompt}"}], videos=[row.video])
        assert responder.reply([prepared]) == [theirs.response_text]


def test_a_batch_answers_as_one_at_a_time(responder: Responder, demo: Demo) -> None:
    prepared = ask_all(responder, demo)
    alone = [responder.reply([one])[0] for one in prepared]
    assert len({one["inputs"].shape[1] for one in prepared}) == len(PROMPTS)  # so all but the longest are padded
    assert len(set(alone)) == len(PROMPTS)
    assert responder.reply(prepared) == alone
    assert responder.one_at_a_time is None


def test_a_batch_is_one_generation(responder: Responder, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    generate = responder.engine.model.generate

    def counted(**batch: Any) -> torch.Tensor:
        sizes.append(tuple(batch["pixel_values_videos"].shape[:2]))
        return generate(**batch)

    monkeypatch.setattr(responder.engine.model, "generate", counted)
    responder.reply(ask_all(responder, demo))
    assert sizes == [(len(PROMPTS), FRAMES)]


def test_frames_and_prompt_are_those_of_training(responder: Responder, demo: Demo, tmp_path: Path) -> None:
    """The first row's full view and question as the collator hands them to the model, bit for bit."""
    seen: dict[str, Any] = {}

    def look(model: Any, batch: Any) -> None:
        chosen = int(batch["terms"]["response"]["sequences"][0, 0])
        assert batch["names"][chosen] == (0, "full/chosen")
        seen["pixels"] = batch["views"][views_of_sequences(batch)[chosen]]["pixel_values_videos"]

    changes = {"max_steps": 1, "per_device_train_batch_size": 1, "disable_shuffling": True, "max_samples": 2}
    run_recipe({**tiny_recipe(demo, tmp_path / "out"), **changes}, FirstBatch(look))
    videos = [GroundedRow("", "", str(demo.data / row["video"])) for row in demo.rows[:2]]
    pixels = [responder.prepare("What?", row)["pixel_values_videos"] for row in videos]
    assert not torch.equal(pixels[0], pixels[1])
    assert any(torch.equal(seen["pixels"], one) for one in pixels)


def test_a_part_of_a_video(responder: Responder, tmp_path: Path) -> None:
    """Frame n of 20 at 10 a second reads n: 8 of 0..19, of 0.5 to 1.2 s (5..12), and of 0.5 to 0.7 s (5, 6, 7)."""
    video = str(write_video(tmp_path / "v.mp4", range(20)))

    def shown(**details: float) -> list[int]:
        return codes(responder.frames(viewed(Question("q", "v", "?", "", "", details), video), None))

    assert shown() == [0, 2, 5, 8, 10, 13, 16, 19]
    assert shown(start=0.5, end=1.2) == [5, 6, 7, 8, 9, 10, 11, 12]
    assert shown(start=0.5, end=0.7) == [5, 5, 5, 5, 6, 6, 6, 7]
    with pytest.raises(RowError, match="question q: "):
        shown(start=7.0, end=8.0)


def test_a_part_of_a_folder_of_frames_goes_by_its_own_rate(responder: Responder, tmp_path: Path) -> None:
    """Three a second: 1 to 2 s are frames 3, 4, 5, 6."""
    for n in range(12):
        draw(n).save(tmp_path / f"{n}.png")
    images = tuple(str(tmp_path / f"{n}.png") for n in range(12))
    row = viewed(Question("q", "v", "?", "", "", {"start": 1, "end": 2, "fps": 3}), images)
    assert codes(responder.frames(row, 3.0)) == [3, 3, 3, 4, 4, 5, 5, 6]


def test_qwen_in_a_batch(demo: Demo, tmp_path: Path) -> None:
    """Videos of other sizes in one batch, and positions of three axes."""
    folder = build_tiny_qwen(tmp_path / "model", [str(value) for row in demo.rows for value in row.values()])
    keys = {"model_name_or_path": str(folder), "template": "qwen2_vl", "video_fps": 2.0, "video_maxlen": 128}
    responder = Responder({**keys, "video_max_pixels": 4 * PIXELS, "video_min_pixels": PIXELS}, NEW_TOKENS)
    prepared = ask_all(responder, demo)
    alone = [responder.reply([one])[0] for one in prepared]
    assert len(set(alone)) > 1
    assert responder.reply(prepared) == alone


def test_what_cannot_be_stacked_is_asked_one_by_one() -> None:
    text = {"inputs": torch.zeros(1, 3), "attention_mask": torch.ones(1, 3), "generation_config": None}
    eight, four = ({**text, "pixel_values_videos": torch.zeros(1, frames, 3, 2, 2)} for frames in (8, 4))
    assert _why_not_stacked([eight, eight]) is None
    assert _why_not_stacked([eight, four]) == "pixel_values_videos of the videos differ in shape"
    strange = {**eight, "image_bound": torch.zeros(1)}
    assert _why_not_stacked([strange]) is None
    assert "the model takes image_bound" in _why_not_stacked([strange, strange])


def test_a_model_that_cannot_be_loaded(keys: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the model cannot be loaded.*Template nonsense"):
        Responder({**keys, "template": "nonsense"}, NEW_TOKENS)
