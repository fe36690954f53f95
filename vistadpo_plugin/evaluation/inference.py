"""A model that answers questions about videos: the host's chat engine, with its template, processor and frames."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from llamafactory.chat.hf_engine import HuggingfaceEngine
from llamafactory.extras.misc import torch_gc
from llamafactory.hparams import get_infer_args

import vistadpo_plugin.host  # noqa: F401  (frames as in training, also where the start-up hook is off)
from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.data.rows.grounding import GroundedRow, from_first_frame
from vistadpo_plugin.data.views.frames import FrameCounts
from vistadpo_plugin.data.views.keys import ViewKeys
from vistadpo_plugin.data.views.views import CLIP, FULL, SampledFrames
from vistadpo_plugin.evaluation.rank import first_tokens
from vistadpo_plugin.evaluation.settings import user_message
from vistadpo_plugin.models.token_kinds import TOKEN_KINDS

_STACKED = ("pixel_values", "pixel_values_videos", "video_grid_thw", "second_per_grid_ts")
"""Inputs that lie one after the other along the first axis, in the host's training too; the last is a list."""


@dataclass(frozen=True)
class Answer:
    """A reply, and log p(yes) - log p(no) at its first token: None where the tokenizer cannot tell the two apart."""

    text: str
    yes_margin: float | None


NOT_LOADED = (ValueError, OSError, ImportError, RuntimeError)


def parse(keys: dict[str, Any], max_new_tokens: int) -> list[Any]:
    """The host's arguments of a model that decodes greedily, in the host's order: model, data, fine-tuning, generating.

    Raises ValueError, see `not_loaded`.
    """
    greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens}
    try:
        # Whatever runs the model; for vLLM the host would ask for a release that excludes the transformers we need.
        return list(get_infer_args({**keys, **greedy, "stage": "sft", "infer_backend": "huggingface"}))
    except NOT_LOADED as error:
        raise not_loaded(keys, error) from error


def not_loaded(keys: dict[str, Any], error: Exception) -> ValueError:
    """What is wrong with a model of these keys that cannot be loaded, with the host's reason."""
    absent = [
        f"`{key}: {keys[key]}` is no folder here, so it was looked for on the hub. "
        for key in ("model_name_or_path", "adapter_name_or_path")
        if key in keys and not Path(keys[key].split(",")[0]).is_dir()
    ]
    return ValueError(f"the model cannot be loaded. {''.join(absent)}{error}")


class Frames:
    """The frames that training takes of videos; `plugin` and `processor`: of the model's template, by the host."""

    def __init__(self, plugin: Any, processor: Any):
        self._builder = FrameCounts(plugin, processor, ViewKeys.of(VistaArguments())).builder(seed=0)
        self._last: tuple[tuple[Any, ...], SampledFrames] | None = None

    def __call__(self, row: GroundedRow, images_fps: float | None) -> SampledFrames:
        """The frames that training takes of the row's video, or of its event where it has one. Raises RowError.

        `images_fps`: the rate of a folder of frames, by default `video_fps`.
        """
        key = (row.video, row.events, images_fps)
        if self._last is None or self._last[0] != key:  # many benchmarks ask several things of a video in a row
            view = CLIP if row.events else FULL
            fps = images_fps or self._builder.video_fps
            builder = self._builder if isinstance(row.video, str) else dataclasses.replace(self._builder, video_fps=fps)
            counted = from_first_frame(row, fps) if row.events else row
            self._last = key, builder.build(counted, None, {view})[view]
        return self._last[1]


def asked(prompt: str, video: SampledFrames, engine: Any, model: Any) -> dict[str, Any]:
    """What the host's chat hands to `generate` for one question: ids (1, n), mask and frames.

    `engine` has the host's `tokenizer`, `processor`, `template` and `generating_args`; of `model` it takes the config,
    the precision and the place.
    """
    prepared, _ = HuggingfaceEngine._process_args(
        model,
        engine.tokenizer,
        engine.processor,
        engine.template,
        engine.generating_args,
        [{"role": "user", "content": user_message(prompt)}],
        videos=[video],
        input_kwargs={},
    )
    return prepared


class Responder:
    """One model, loaded by the host with these keys, that decodes greedily.

    `one_at_a_time` tells, after a batch, why its questions had to be asked one by one, if they had to. Raises
    ValueError, with the host's reason, where the model cannot be loaded.
    """

    batch_size = 1
    """Questions at a time where a recipe names no number."""

    def __init__(self, keys: dict[str, Any], max_new_tokens: int):
        arguments = parse(keys, max_new_tokens)
        try:
            self.engine = HuggingfaceEngine(*arguments)
        except NOT_LOADED as error:
            raise not_loaded(keys, error) from error
        self.one_at_a_time: str | None = None
        self.frames = Frames(self.engine.template.mm_plugin, self.engine.processor)
        self._yes_no = first_tokens(self.engine.tokenizer)

    def prepare(self, prompt: str, row: GroundedRow, images_fps: float | None = None) -> dict[str, Any]:
        """What `generate` gets for one question, see `asked`. Raises RowError, see `Frames`."""
        return asked(prompt, self.frames(row, images_fps), self.engine, self.engine.model)

    @torch.inference_mode()
    def reply(self, prepared: list[dict[str, Any]]) -> list[str]:
        """The reply to each prepared question, see `answer`."""
        return [answer.text for answer in self.answer(prepared)]

    @torch.inference_mode()
    def answer(self, prepared: list[dict[str, Any]]) -> list[Answer]:
        """Reply and margin of each prepared question, the same in a batch as alone but for what half precision rounds.

        The margin comes of the forward that the reply begins with. Raises ValueError when memory does not suffice.
        """
        reason = _why_not_stacked(prepared)
        self.one_at_a_time = self.one_at_a_time or reason
        alone = reason is not None or len(prepared) == 1
        batches = prepared if alone else [_stack(prepared, self.engine.tokenizer.pad_token_id)]
        return [answer for batch in batches for answer in self._generate(batch)]

    def _generate(self, batch: dict[str, Any]) -> list[Answer]:
        try:
            with _first_margins(self.engine.model, self._yes_no) as margins:
                made = self.engine.model.generate(**batch)
        except torch.cuda.OutOfMemoryError as error:
            raise ValueError(f"out of memory: take a smaller `batch_size`. {error}") from None
        texts = self.engine.tokenizer.batch_decode(
            made[:, batch["inputs"].shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=True
        )
        return [Answer(text, margin) for text, margin in zip(texts, margins, strict=True)]

    def close(self) -> None:
        """Give the memory back for the next model."""
        del self.engine
        gc.collect()
        torch_gc()


@contextmanager
def _first_margins(model: Any, yes_no: tuple[list[int], list[int]] | None) -> Iterator[list[float | None]]:
    """Meanwhile keeps log p(yes) - log p(no) of each question, of the first forward; `yes_no`: the tokens.

    A head in half precision rounds its logits, those above 16 by up to 0.06 in bfloat16, and questions that differ tie.
    So its rows for these tokens are taken in float32, unless it is more than a matrix (an adapter) or not at hand.
    """
    kept: list[float | None] = []

    def keep(head: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if kept:
            return
        if yes_no is None:
            kept.extend([None] * len(output))
            return
        logits = output[:, -1].float()
        if type(head) is torch.nn.Linear and not head.weight.is_meta:
            states, bias = inputs[0][:, -1].float(), head.bias
            for tokens in yes_no:
                rows = head.weight[tokens].float()
                logits[:, tokens] = F.linear(states, rows, None if bias is None else bias[tokens].float())
        yes, no = (torch.logsumexp(logits[:, tokens], dim=1) for tokens in yes_no)
        kept.extend((yes - no).tolist())

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = inner.get_output_embeddings().register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def media(prepared: dict[str, Any]) -> dict[str, Any]:
    """What the video became, without the text."""
    text = ("inputs", "attention_mask", TOKEN_KINDS, "generation_config")
    return {key: value for key, value in prepared.items() if key not in text}


def _why_not_stacked(prepared: list[dict[str, Any]]) -> str | None:
    """Why these questions cannot share a batch, None when they can."""
    if len(prepared) == 1:
        return None
    others = sorted({key for one in prepared for key in media(one)} - set(_STACKED))
    if others:
        return f"the model takes {', '.join(others)}, of which we do not know how they go into a batch"
    for key in media(prepared[0]):
        if len({getattr(one[key], "shape", ())[1:] for one in prepared}) > 1:
            return f"{key} of the videos differ in shape"
    return None


def _stack(prepared: list[dict[str, Any]], pad_token_id: int) -> dict[str, Any]:
    """One batch, padded on the left, so that every prompt ends where the generation begins."""
    width = max(one["inputs"].shape[1] for one in prepared)

    def padded(key: str, fill: int) -> torch.Tensor:
        rows = [torch.nn.functional.pad(one[key], (width - one[key].shape[1], 0), value=fill) for one in prepared]
        return torch.cat(rows)

    def joined(key: str) -> torch.Tensor | list[float]:
        parts = [one[key] for one in prepared]
        return torch.cat(parts) if isinstance(parts[0], torch.Tensor) else [value for part in parts for value in part]

    return {
        **{key: joined(key) for key in media(prepared[0])},
        "inputs": padded("inputs", pad_token_id),
        "attention_mask": padded("attention_mask", 0),
        **({TOKEN_KINDS: padded(TOKEN_KINDS, 0)} if TOKEN_KINDS in prepared[0] else {}),
        "generation_config": prepared[0]["generation_config"],
    }
