"""PLLaVA as a transformers model: LLaVA whose video features are pooled over space and time.

transformers has no such class. Importing this module registers it: after

    import vistadpo_plugin.models.pllava_model

`AutoConfig`, `AutoModel`, `AutoModelForImageTextToText` and `AutoProcessor` know `model_type: pllava`. Modules, names
of parameters and files are those of transformers' LLaVA; only the configuration tells the two apart.

Source: Xu et al., PLLaVA: Parameter-free LLaVA Extension from Images to Videos for Video Dense Captioning (2024).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
)
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.feature_extraction_utils import BatchFeature
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.video_llava.modeling_video_llava import (
    VideoLlavaCausalLMOutputWithPast,
    VideoLlavaModelOutputWithPast,
)
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin
from transformers.utils.generic import can_return_tuple

POOLING_SHAPE = (16, 12, 12)


def pooled_frames(pooling_shape: list[int] | tuple[int, ...], frames: int) -> int:
    """Frames that are left of a video of so many.

    Our decision: fewer frames than the pooling's stay as they are. Averaging to more frames than there are only repeats
    some, and a keyframe would take the 2,304 tokens of a whole video instead of 144. (The original repeats them.)
    """
    return min(frames, pooling_shape[0])


@strict
class PllavaConfig(LlavaConfig):
    """LLaVA's configuration, `video_token_index` (the id of the video placeholder) and `pooling_shape`.

    `pooling_shape` is [frames, height, width] of the grid to which a video's projected patches are averaged.
    """

    model_type = "pllava"
    attribute_map = {"image_token_id": "image_token_index", "video_token_id": "video_token_index"}

    video_token_index: int = 32002
    pooling_shape: list[int] | tuple[int, ...] = POOLING_SHAPE

    def __post_init__(self, **kwargs: Any) -> None:
        self.pooling_shape = list(self.pooling_shape)
        if len(self.pooling_shape) != 3 or min(self.pooling_shape) < 1:
            raise ValueError(
                f"`pooling_shape` is {self.pooling_shape}; [frames, height, width] is expected, each 1 or more."
            )
        super().__post_init__(**kwargs)


class PllavaModel(LlavaModel):
    """LLaVA without its head; an image is a video of one frame."""

    config_class = PllavaConfig
    input_modalities = ("image", "video", "text")

    @can_return_tuple
    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """(images, 3, height, width) to a `pooler_output` of one tensor (tokens, width of the language model) each."""
        return self._pooled(pixel_values.unsqueeze(1), **kwargs)

    @can_return_tuple
    def get_video_features(self, pixel_values_videos: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """(videos, frames, 3, height, width), the tensors of `pooler_output` as of images."""
        return self._pooled(pixel_values_videos, **kwargs)

    def _pooled(self, pixels: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        videos, frames = pixels.shape[:2]
        outputs = super().get_image_features(pixels.flatten(0, 1), return_dict=True, **kwargs)
        patches = torch.stack(outputs.pooler_output)
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        grid = patches.view(videos, frames, side, side, -1).permute(0, 4, 1, 2, 3)
        _, height, width = self.config.pooling_shape
        shape = (pooled_frames(self.config.pooling_shape, frames), height, width)
        outputs.pooler_output = list(F.adaptive_avg_pool3d(grid, shape).flatten(2).transpose(1, 2))
        return outputs

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> VideoLlavaModelOutputWithPast:
        """Put the features where `input_ids` has placeholders, and run the language model.

        Raises ValueError when both or neither of `input_ids` and `inputs_embeds` are given, or pixels without
        `input_ids`, or another number of placeholders than of features.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either `input_ids` or `inputs_embeds`.")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if input_ids is None and not (pixel_values is None and pixel_values_videos is None):
            raise ValueError("pixels need `input_ids`, which say where their features go.")
        image_features = video_features = None
        if pixel_values is not None:
            image_features = torch.cat(self.get_image_features(pixel_values, return_dict=True).pooler_output)
            inputs_embeds = _placed(image_features, inputs_embeds, input_ids == self.config.image_token_id)
        if pixel_values_videos is not None:
            video_features = torch.cat(self.get_video_features(pixel_values_videos, return_dict=True).pooler_output)
            inputs_embeds = _placed(video_features, inputs_embeds, input_ids == self.config.video_token_id)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return VideoLlavaModelOutputWithPast(
            image_hidden_states=image_features, video_hidden_states=video_features, **outputs
        )


def _placed(features: Tensor, embeddings: Tensor, mask: Tensor) -> Tensor:
    """`embeddings` (rows, length, width) with `features` (tokens, width) where `mask` (rows, length) is true."""
    placeholders = int(mask.sum())
    if placeholders != len(features):
        raise ValueError(f"the text has {placeholders} placeholders, but the pixels make {len(features)} tokens.")
    return embeddings.masked_scatter(mask.unsqueeze(-1), features.to(embeddings.device, embeddings.dtype))


class PllavaForConditionalGeneration(LlavaForConditionalGeneration):
    """PLLaVA with its head."""

    config_class = PllavaConfig
    input_modalities = ("image", "video", "text")

    def __init__(self, config: PllavaConfig):
        super(LlavaForConditionalGeneration, self).__init__(config)  # LLaVA's own would make LLaVA's model
        self.model = PllavaModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_video_features(self, pixel_values_videos: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        return self.model.get_video_features(pixel_values_videos, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> VideoLlavaCausalLMOutputWithPast:
        """`labels` (rows, length) hold -100 where there is no loss; `logits_to_keep` as in transformers' LLaVA."""
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            pixel_values_videos=pixel_values_videos,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **kwargs)
        return VideoLlavaCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
            video_hidden_states=outputs.video_hidden_states,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        pixel_values_videos: Tensor | None = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        inputs = super().prepare_inputs_for_generation(input_ids, is_first_iteration=is_first_iteration, **kwargs)
        if is_first_iteration or not kwargs.get("use_cache", True):  # afterwards the cache has seen them
            inputs["pixel_values_videos"] = pixel_values_videos
        return inputs


class PllavaProcessorKwargs(ProcessingKwargs, total=False):
    _defaults = {"text_kwargs": {"padding": False}}


class PllavaProcessor(ProcessorMixin):
    """Makes pixels of images and videos, and writes each placeholder as often as the model has tokens for it.

    `pooling_shape` is the model's. Frames are the caller's choice; the original takes 16 (see `data.views.views`).
    """

    def __init__(
        self,
        image_processor: Any = None,
        video_processor: Any = None,
        tokenizer: Any = None,
        pooling_shape: list[int] | tuple[int, ...] = POOLING_SHAPE,
        image_token: str = "<image>",
        video_token: str = "<video>",
        chat_template: str | None = None,
    ):
        self.pooling_shape = list(pooling_shape)
        self.image_token, self.video_token = image_token, video_token
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids([image_token, video_token])
        super().__init__(image_processor, video_processor, tokenizer, chat_template=chat_template)

    def video_tokens(self, frames: int) -> int:
        """Tokens of a video of so many frames; an image is a video of one."""
        _, height, width = self.pooling_shape
        return pooled_frames(self.pooling_shape, frames) * height * width

    def __call__(
        self, images: Any = None, text: str | list[str] | None = None, videos: Any = None, **kwargs: Any
    ) -> BatchFeature:
        """Token ids and, where given, `pixel_values` and `pixel_values_videos`. All videos have equally many frames.

        Raises ValueError when there is nothing to process.
        """
        if text is None and images is None and videos is None:
            raise ValueError("give at least one of `text`, `images` and `videos`.")
        options = self._merge_kwargs(PllavaProcessorKwargs, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        texts = [text] if isinstance(text, str) else list(text or [])
        data: dict[str, Any] = {}
        if images is not None:
            data.update(self.image_processor(images, **options["images_kwargs"]))
            texts = [one.replace(self.image_token, self.image_token * self.video_tokens(1)) for one in texts]
        if videos is not None:
            data.update(self.video_processor(videos, **options["videos_kwargs"]))
            tokens = self.video_tokens(len(data["pixel_values_videos"][0]))
            texts = [one.replace(self.video_token, self.video_token * tokens) for one in texts]
        return_tensors = options["text_kwargs"].pop("return_tensors", None)
        if texts:
            encoded = self.tokenizer(texts, **options["text_kwargs"])
            self._check_special_mm_tokens(texts, encoded, modalities=["image", "video"])
            data.update(encoded)
        return BatchFeature(data, tensor_type=return_tensors)


def _register() -> None:
    kind = PllavaConfig.model_type
    AutoConfig.register(kind, PllavaConfig)
    AutoModel.register(PllavaConfig, PllavaModel)
    AutoModelForImageTextToText.register(PllavaConfig, PllavaForConditionalGeneration)
    AutoProcessor.register(PllavaConfig, PllavaProcessor)
    register_checkpoint_conversion_mapping(kind, get_checkpoint_conversion_mapping("llava"))


_register()
