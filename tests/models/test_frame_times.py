"""What a model is told of when frames were shown: of a full view what the host tells of the file, to the last bit."""

from __future__ import annotations

import copy
import importlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import Demo
from PIL import Image

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import CLIP, CLIP_NEGATIVE, FULL, KEYFRAME, SampledFrames

TEMPLATES = {"qwen2_5_vl": "qwen2_vl", "qwen3_vl": "qwen3_vl_nothink"}


@pytest.fixture(scope="module")
def processors(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The processors of the tiny models that are told times, by file."""
    from transformers import AutoProcessor

    corpus = [str(value) for row in demo.rows for value in row.values()]
    made = {}
    for file in TEMPLATES:
        folder = tmp_path_factory.mktemp("times") / file
        importlib.import_module(f"tiny_families.{file}").build(folder, corpus)
        made[file] = AutoProcessor.from_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Path]:
    """Files by number of frames and frames a second; each frame a grey of its own."""
    folder = tmp_path_factory.mktemp("videos")
    made = {}
    for frames, rate in ((1, "10"), (7, "2"), (40, "10"), (58, "25"), (91, "30"), (77, "30000/1001"), (160, "4")):
        path = folder / f"{frames}_{rate.replace('/', '_')}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(rate))
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(frames):
                picture = np.full((48, 64, 3), 20 + number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        made[frames, rate] = path
    return made


def with_frames(processor: Any, fps: float, most: int) -> Any:
    """The processor as the host leaves it for a recipe with these keys."""
    processor = copy.copy(processor)
    processor.video_fps, processor.video_maxlen = fps, most
    processor.video_max_pixels, processor.video_min_pixels = 56 * 56, 28 * 28
    return processor


def plugins(file: str) -> tuple[Any, Any]:
    """The template's plugin as a run has it, and the host's own of the same name."""
    from llamafactory.data.mm_plugin import get_mm_plugin
    from llamafactory.data.template import TEMPLATES as KNOWN

    plugin = KNOWN[TEMPLATES[file]].mm_plugin
    name = "qwen3_vl" if file == "qwen3_vl" else "qwen2_vl"
    return plugin, get_mm_plugin(name, image_token="<|image_pad|>", video_token="<|video_pad|>")


def views(processor: Any, row: GroundedRow, wanted: set[str], file: str) -> dict[str, SampledFrames]:
    view_keys = ViewKeys.of(VistaArguments())
    return FrameCounts(plugins(file)[0], processor, view_keys).builder(seed=0).build(row, None, wanted)


def told(plugin: Any, processor: Any, video: Any) -> tuple[str, dict[str, Any]]:
    """The prompt with the video in it, and what the model takes beside it."""
    messages = plugin.process_messages([{"role": "user", "content": "<video>What?"}], [], [video], [], processor)
    return messages[0]["content"], plugin.get_mm_inputs([], [video], [], [0], [1], [], [[]], processor)


@pytest.mark.parametrize("file", TEMPLATES)
@pytest.mark.parametrize(("fps", "most"), [(2.0, 128), (2.0, 5), (1.1, 6), (7.0, 16)])
def test_a_full_view_is_told_what_the_host_tells_of_the_file(
    processors: dict[str, Any], videos: dict[tuple[int, str], Path], file: str, fps: float, most: int
) -> None:
    """Words, times a step, grid and pixels; files whose frames are sampled at other distances than `video_fps` says."""
    ours, host = plugins(file)
    processor = with_frames(processors[file], fps, most)
    as_list = 0
    for path in videos.values():
        full = views(processor, GroundedRow("", "", str(path)), {FULL}, file)[FULL]
        count = len(full)
        words, inputs = told(ours, processor, full)
        expected_words, expected = told(host, processor, str(path))
        assert len(full) == count  # the host lengthens lists of odd length in place
        assert words == expected_words
        assert inputs.get("second_per_grid_ts") == expected.get("second_per_grid_ts")
        assert torch.equal(inputs["video_grid_thw"], expected["video_grid_thw"])
        assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
        plain_words, plain = told(host, processor, list(full))
        as_list += words != plain_words or inputs.get("second_per_grid_ts") != plain.get("second_per_grid_ts")
    assert as_list >= 3  # taken for frames at `video_fps`, these would be told other times


def seconds_named(words: str) -> list[float]:
    return [float(part.split("<")[-1]) for part in words.split(" seconds>")[:-1]]


def test_a_clip_begins_at_zero_and_keeps_its_own_distances(
    processors: dict[str, Any], videos: dict[tuple[int, str], Path]
) -> None:
    """40 frames at 10 a second, 1.0 to 2.4 s: frames 10 to 24, of which 5 at i * 14 / 4: 10, 13, 17, 20, 24.

    Times after the first: 0, 0.3, 0.7, 1.0, 1.4, and 1.4 again to make pairs: means 0.15, 0.85, 1.4. The clip lasts
    1.5 s, a pair 2 * 1.5 / 5 = 0.6 s. Outside, 2.5 to 3.9 s, are as many frames, 25 to 39: the same distances.
    """
    row = GroundedRow("", "", str(videos[40, "10"]), events=((1.0, 2.4),), outside=(2.5, 3.9))
    for file in TEMPLATES:
        ours, _ = plugins(file)
        processor = with_frames(processors[file], 2.0, 5)
        for view, first in ((CLIP, 10), (CLIP_NEGATIVE, 25)):
            frames = views(processor, row, {view}, file)[view]
            assert [index - first for index in frames.indices] == [0, 3, 7, 10, 14]
            words, inputs = told(ours, processor, frames)
            assert inputs["video_grid_thw"].tolist()[0][0] == 3
            if file == "qwen3_vl":
                assert seconds_named(words) == pytest.approx([0.15, 0.85, 1.4], abs=0.051)
            else:
                assert inputs["second_per_grid_ts"] == pytest.approx([0.6])


def test_two_events_keep_the_gap_between_them(processors: dict[str, Any], videos: dict[tuple[int, str], Path]) -> None:
    """Frames 5 and 6, 30 and 31 of 10 a second, all of them shown: pairs at 0.05 and 2.55 s, 2.7 s in 4 frames."""
    row = GroundedRow("", "", str(videos[40, "10"]), events=((0.5, 0.6), (3.0, 3.1)))
    for file in TEMPLATES:
        processor = with_frames(processors[file], 2.0, 128)
        frames = views(processor, row, {CLIP}, file)[CLIP]
        assert frames.indices == (5, 6, 30, 31)
        words, inputs = told(plugins(file)[0], processor, frames)
        if file == "qwen3_vl":
            assert seconds_named(words) == pytest.approx([0.05, 2.55], abs=0.051)
        else:
            assert inputs["second_per_grid_ts"] == pytest.approx([2 * 2.7 / 4])


def test_a_keyframe_is_one_step_of_two_equal_frames_at_zero(
    processors: dict[str, Any], videos: dict[tuple[int, str], Path]
) -> None:
    row = GroundedRow("", "", str(videos[40, "10"]), keyframe=2.0)
    for file in TEMPLATES:
        ours, _ = plugins(file)
        processor = with_frames(processors[file], 2.0, 5)
        frame = views(processor, row, {KEYFRAME}, file)[KEYFRAME]
        words, inputs = told(ours, processor, frame)
        assert len(frame) == 1 and frame.indices == (20,)
        twice = processor.video_processor(videos=[[frame[0], frame[0]]], return_tensors="pt", do_sample_frames=False)
        assert torch.equal(inputs["pixel_values_videos"], twice["pixel_values_videos"])
        assert inputs["video_grid_thw"].tolist() == twice["video_grid_thw"].tolist() == [[1, 4, 4]]
        assert words.count("<|video_pad|>") == 4
        if file == "qwen3_vl":
            assert seconds_named(words) == [0.0]


def test_frames_given_as_images_are_told_what_the_host_tells(processors: dict[str, Any], tmp_path: Path) -> None:
    """6 images are shown at `video_fps`, as the host has it; of 12 only every other, at half as many a second."""
    images = []
    for number in range(12):
        images.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((48, 64, 3), 20 * number, np.uint8)).save(images[-1])
    for file in TEMPLATES:
        ours, host = plugins(file)
        processor = with_frames(processors[file], 1.1, 6)
        few = views(processor, GroundedRow("", "", tuple(images[:6])), {FULL}, file)[FULL]
        words, inputs = told(ours, processor, few)
        expected_words, expected = told(host, processor, images[:6])
        assert words == expected_words
        assert inputs.get("second_per_grid_ts") == expected.get("second_per_grid_ts")
        assert torch.equal(inputs["pixel_values_videos"], expected["pixel_values_videos"])
        many = views(processor, GroundedRow("", "", tuple(images)), {FULL}, file)[FULL]
        words, inputs = told(ours, processor, many)
        if file == "qwen3_vl":  # frames 0 2, 4 6, 8 11 of 1.1 a second
            assert seconds_named(words) == pytest.approx([1 / 1.1, 5 / 1.1, 9.5 / 1.1], abs=0.051)
        else:
            assert inputs["second_per_grid_ts"] == pytest.approx([2 * 12 / 1.1 / 6])


def test_frames_of_no_known_source_stay_the_hosts(processors: dict[str, Any]) -> None:
    """Frames that are made, not read: `video_fps` is all there is to go by."""
    frames = [Image.new("RGB", (64, 48), (40 * number, 0, 0)) for number in range(3)]
    for file in TEMPLATES:
        ours, host = plugins(file)
        processor = with_frames(processors[file], 2.0, 5)
        words, inputs = told(ours, processor, SampledFrames(frames))
        expected_words, expected = told(host, processor, list(frames))
        assert words == expected_words
        assert inputs.get("second_per_grid_ts") == expected.get("second_per_grid_ts")


def test_tokens_are_counted_without_touching_pixels(
    processors: dict[str, Any], videos: dict[tuple[int, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = GroundedRow("", "", str(videos[58, "25"]))
    for file in TEMPLATES:
        ours, _ = plugins(file)
        processor = with_frames(processors[file], 2.0, 5)
        full = views(processor, row, {FULL}, file)[FULL]
        with monkeypatch.context() as patch:
            patch.setattr(type(processor.video_processor), "__call__", None)
            (message,) = ours.process_messages([{"role": "user", "content": "<video>"}], [], [full], [], processor)
        grid = told(ours, processor, full)[1]["video_grid_thw"]
        assert message["content"].count("<|video_pad|>") == int(grid.prod()) // 4
