"""The tiny Video-LLaVA: loads as any checkpoint does, and its scores depend on what they should."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
    VideoLlavaProcessor,
)

from vistadpo_plugin.demo.shapes import build_videos, read_frames
from vistadpo_plugin.demo.tiny_model import (
    FRAMES,
    SYSTEM,
    build_tiny_video_llava,
    encode_turn,
)

QUESTION, ANSWER = "What does the red square do?", "The red square moves to the left."
CORPUS = [QUESTION, ANSWER, "Which shape grows larger?", "The blue circle grows larger."]
VIDEO_TOKENS = FRAMES * ((56 // 14) ** 2 + 1)


@dataclass(frozen=True)
class Tiny:
    folder: Path
    config: VideoLlavaConfig
    tokenizer: PreTrainedTokenizerBase
    processor: VideoLlavaProcessor
    model: VideoLlavaForConditionalGeneration


def load(folder: Path) -> Tiny:
    return Tiny(
        folder,
        AutoConfig.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        AutoProcessor.from_pretrained(folder),
        AutoModelForImageTextToText.from_pretrained(folder).eval(),
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return load(build_tiny_video_llava(tmp_path_factory.mktemp("tiny"), CORPUS))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    build_videos(folder, rows=4, seed=0)
    return folder


@pytest.fixture(scope="module")
def pixels(tiny: Tiny, data: Path) -> list[torch.Tensor]:
    """Two videos, each (1, frames, 3, height, width)."""
    videos = sorted((data / "videos").iterdir())[:2]
    return [
        tiny.processor.video_processor(videos=[read_frames(video)], return_tensors="pt")["pixel_values_videos"]
        for video in videos
    ]


@torch.no_grad()
def score(tiny: Tiny, video: torch.Tensor, question: str = QUESTION, answer: str = ANSWER) -> float:
    """Summed log-probability of the answer, in nats."""
    prompt, ids = encode_turn(tiny.tokenizer, question, answer, VIDEO_TOKENS)
    logits = tiny.model(input_ids=torch.tensor([prompt + ids]), pixel_values_videos=video).logits
    log_probs = logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return log_probs[range(len(ids)), ids].sum().item()


def test_is_the_real_class(tiny: Tiny) -> None:
    assert isinstance(tiny.model, VideoLlavaForConditionalGeneration)
    assert isinstance(tiny.processor, VideoLlavaProcessor)
    assert tiny.model.dtype == torch.float32
    assert tiny.config.text_config.vocab_size % 64 == 0
    assert tiny.config.text_config.vocab_size >= len(tiny.tokenizer)
    assert tiny.config.text_config.max_position_embeddings == 4096
    assert tiny.config.video_seq_length == VIDEO_TOKENS


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "Zebras juggle 42 quartz vases!",
        "  two  spaces,\ttab\n\n",
        "it's n't 'll . , ?",
        "Ünïcøde ☃ 漢字 🙂",
        SYSTEM,
    ],
)
def test_any_text_survives(tiny: Tiny, text: str) -> None:
    assert tiny.tokenizer.decode(tiny.tokenizer.encode(text, add_special_tokens=False)) == text


def test_special_tokens(tiny: Tiny) -> None:
    assert tiny.tokenizer.convert_tokens_to_ids(["<s>", "</s>", "<pad>", "<image>", "<video>"]) == [0, 1, 2, 3, 4]
    ids = tiny.tokenizer.encode("USER: <video><video>\nWhat?")
    assert ids[0] == tiny.tokenizer.bos_token_id
    assert ids.count(tiny.config.video_token_id) == 2
    assert tiny.tokenizer.decode(ids, skip_special_tokens=True) == "USER: \nWhat?"


def test_processor_expands_the_video(tiny: Tiny, data: Path) -> None:
    frames = read_frames(data / "videos" / "0000.mp4")
    inputs = tiny.processor(text="USER: <video>\nWhat? ASSISTANT:", videos=[frames], return_tensors="pt")
    assert inputs["pixel_values_videos"].shape == (1, FRAMES, 3, 56, 56)
    assert (inputs["input_ids"] == tiny.config.video_token_id).sum() == VIDEO_TOKENS
    generated = tiny.model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert generated.shape[1] > inputs["input_ids"].shape[1]


def test_conversation_is_the_host_templates() -> None:
    from llamafactory.data.template import TEMPLATES

    template = TEMPLATES["video_llava"]
    assert template.default_system == SYSTEM
    assert template.format_user.apply(content="x") == ["USER: x ASSISTANT:"]
    assert template.format_prefix.apply() == []


def test_scores_are_finite_and_answers_differ(tiny: Tiny, pixels: list[torch.Tensor]) -> None:
    scores = [score(tiny, pixels[0], answer=answer) for answer in (ANSWER, "The red square moves to the right.")]
    assert all(math.isfinite(value) and value < 0 for value in scores)
    assert abs(scores[0] - scores[1]) > 0.1


def test_pixels_matter(tiny: Tiny, pixels: list[torch.Tensor]) -> None:
    one_frame_black = pixels[0].clone()
    one_frame_black[:, 3] = 0
    base = score(tiny, pixels[0])
    assert abs(base - score(tiny, pixels[1])) > 0.1
    assert abs(base - score(tiny, one_frame_black)) > 0.1
    assert abs(base - score(tiny, pixels[0].flip(1))) > 0.1


def test_question_matters(tiny: Tiny, pixels: list[torch.Tensor]) -> None:
    assert abs(score(tiny, pixels[0]) - score(tiny, pixels[0], question="Which shape grows larger?")) > 0.1


def test_seed_decides_the_weights(tiny: Tiny, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    same = load(build_tiny_video_llava(tmp_path / "same", CORPUS, seed=0)).model.state_dict()
    assert torch.equal(before, torch.get_rng_state())
    other = load(build_tiny_video_llava(tmp_path / "other", CORPUS, seed=1)).model.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in tiny.model.state_dict().items())
    assert not torch.equal(same["lm_head.weight"], other["lm_head.weight"])


def test_image_size_has_to_fit_the_patches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of patch_size"):
        build_tiny_video_llava(tmp_path, CORPUS, image_size=50)
