"""Families that stack videos: the host alone cannot train them under transformers 5.

It hands `images=None` to video processors that refuse it, decodes videos while tokenizing, and gives clips of unequal
length unequal numbers of frames, which such models cannot stack. Here a video is always exactly `video_maxlen` frames,
spread evenly as the family has it and repeated where there are too few.
"""

from __future__ import annotations

import functools
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from llamafactory.data.mm_plugin import BasePlugin
from llamafactory.extras.constants import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from PIL import Image

from vistadpo_plugin.data.rows.lengths import needs_cutoff
from vistadpo_plugin.data.video.settings import video_settings
from vistadpo_plugin.data.video.video import FrameSource, open_image
from vistadpo_plugin.data.views.views import SampledFrames, Sampling, sample_indices
from vistadpo_plugin.models.family import Family


@dataclass
class ExactFramesPlugin(BasePlugin):
    """The host's plugin with a working processor call and an exact number of frames."""

    family: Family | None = None

    @property
    def sampling(self) -> Sampling:
        """Where the frames of a video lie."""
        return self.family.sampling

    def fixed_frames(self, processor: Any) -> int:
        """Frames of every video: the recipe's `video_maxlen`."""
        return processor.video_maxlen

    def video_tokens(self, processor: Any, frames: int) -> int:
        """Tokens a video of so many frames takes."""
        return self.family.video_tokens(processor, frames)

    def process_messages(
        self, messages: list[dict], images: list, videos: list, audios: list, processor: Any
    ) -> list[dict]:
        """Write out the placeholders; the counts of videos are known without opening a file."""
        self._validate_input(processor, images, videos, audios)
        self._validate_messages(messages, images, videos, audios)
        messages = deepcopy(messages)
        image_counts, video_counts = [1] * len(images), [1] * len(videos)
        if self.expand_mm_tokens:
            inputs = self._get_mm_inputs(images, [], [], processor, [len(images)])
            image_counts = [self.family.image_tokens(processor, inputs, number) for number in range(len(images))]
            video_counts = [
                self.video_tokens(processor, len(v) if isinstance(v, SampledFrames) else self.fixed_frames(processor))
                for v in videos
            ]
        for placeholder, token, counts in (
            (VIDEO_PLACEHOLDER, self.video_token, video_counts),
            (IMAGE_PLACEHOLDER, self.image_token, image_counts),
        ):
            remaining = iter(counts)
            for message in messages:
                first, *parts = message["content"].split(placeholder)
                message["content"] = first + "".join(token * next(remaining) + part for part in parts)
        return messages

    def _regularize_videos(self, videos: list, **kwargs: Any) -> dict[str, list]:
        """Every video as exactly `video_maxlen` frames; views that are sampled already stay as they are."""
        shrink = functools.partial(self._preprocess_image, **kwargs)
        fps, count = kwargs["video_fps"], kwargs["video_maxlen"]
        frames = [
            video if isinstance(video, SampledFrames) else _exactly(video, count, self.sampling, fps, shrink)
            for video in videos
        ]
        return {"videos": frames, "durations": [len(video) / fps for video in frames]}

    def get_mm_inputs(
        self,
        images: list,
        videos: list,
        audios: list,
        imglens: list[int],
        vidlens: list[int],
        audlens: list[int],
        batch_ids: list[list[int]],
        processor: Any,
    ) -> dict:
        """The inputs of a batch. Which images share a row matters: some families show several with fewer tokens."""
        self._validate_input(processor, images, videos, audios)
        return self._get_mm_inputs(images, videos, audios, processor, [count for count in imglens if count])

    def _get_mm_inputs(self, images: list, videos: list, audios: list, processor: Any, imglens: Any = None) -> dict:
        """What the image processor makes of the images, and pixel_values_videos (videos, frames, 3, h, w)."""
        inputs = super()._get_mm_inputs(images, [], audios, processor, imglens) if images or audios else {}
        if videos:
            frames = self._regularize_videos(videos, **video_settings(processor))["videos"]
            inputs = {**inputs, **processor.video_processor(videos=[list(v) for v in frames], return_tensors="pt")}
        return inputs


def _exactly(video: Any, count: int, sampling: Sampling, fps: float, shrink: Any) -> list[Image.Image]:
    """A video the host hands over (a path, or a list of image paths or images) as exactly `count` frames."""
    if isinstance(video, list):
        chosen = [video[index] for index in sample_indices(len(video), count, sampling)]
        return [shrink(open_image(frame) if isinstance(frame, str) else frame) for frame in chosen]
    source = FrameSource(video, fps)
    times, frames = source.read(lambda times: set(sample_indices(len(times), count, sampling).tolist()), shrink)
    return [frames[index] for index in sample_indices(len(times), count, sampling).tolist()]


def refuse_cut_prompts(dataset_processor: Any) -> None:
    """Make a host dataset processor raise where `cutoff_len` would cut a prompt with a video in it.

    The host cuts the prompt from its end, so the question and the role marker go first, without a word.
    """
    encode = dataset_processor._encode_data_example
    template, tokenizer = dataset_processor.template, dataset_processor.tokenizer
    cutoff_len = dataset_processor.data_args.cutoff_len

    @functools.wraps(encode)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if kwargs["videos"]:
            messages = template.mm_plugin.process_messages(
                kwargs["prompt"], kwargs["images"], kwargs["videos"], kwargs["audios"], dataset_processor.processor
            )
            # Rows to predict on may come without an answer.
            answers = kwargs["response"] or [{"role": "assistant", "content": ""}]
            longest = max(
                sum(
                    map(len, template.encode_oneturn(tokenizer, [*messages, answer], kwargs["system"], kwargs["tools"]))
                )
                for answer in answers
            )
            if longest > cutoff_len:
                question = messages[-1]["content"][-60:]
                raise ValueError(f"the row that asks {question!r} {needs_cutoff(longest, cutoff_len)}")
        return encode(*args, **kwargs)

    dataset_processor._encode_data_example = checked
