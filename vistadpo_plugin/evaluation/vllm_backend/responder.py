"""A model that answers questions about videos, run by vLLM: all questions of a batch at once, and more as some end."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.extras.misc import get_device_count, torch_gc
from llamafactory.model import load_config, load_tokenizer

import vistadpo_plugin.host  # noqa: F401  (frames as in training, also where the start-up hook is off)
from vistadpo_plugin.data.rows.grounding import GroundedRow
from vistadpo_plugin.evaluation.inference import NOT_LOADED, Answer, Frames, asked, media, not_loaded, parse
from vistadpo_plugin.evaluation.rank import first_tokens
from vistadpo_plugin.evaluation.vllm_backend.support import LORA_RANKS, SUPPORTED, lora_rank
from vistadpo_plugin.evaluation.vllm_backend.worker import TrainedPositions
from vistadpo_plugin.serving.frames import warn_of_other_frames

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # it would report to its makers
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # our report is on the other one
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # threads that decode videos do not survive a fork
}
_LEAST_BATCHED_TOKENS = 8192


class VllmResponder:
    """One model, loaded by vLLM, that decodes greedily: in the place of `inference.Responder`.

    Template, tokenizer, frames and processed inputs are the host's, and so are stop tokens and the text of a reply.
    Raises ValueError where the model cannot be loaded.
    """

    batch_size = 64
    """Questions at a time where a recipe names no number."""
    one_at_a_time: str | None = None

    def __init__(self, keys: dict[str, Any], max_new_tokens: int):
        model_args, data_args, _, generating_args = parse(keys, max_new_tokens)
        try:
            config = load_config(model_args)
            tokenizer_module = load_tokenizer(model_args)
            self.tokenizer, self.processor = tokenizer_module["tokenizer"], tokenizer_module["processor"]
            self.template = get_template_and_fix_tokenizer(self.tokenizer, data_args)
        except NOT_LOADED as error:
            raise not_loaded(keys, error) from error
        if config.model_type not in SUPPORTED:
            raise ValueError(f"`infer_backend: vllm` is not for {config.model_type}, but for {', '.join(SUPPORTED)}.")
        warn_of_other_frames(model_args)
        self.generating_args = generating_args.to_dict()
        self.frames = Frames(self.template.mm_plugin, self.processor)
        self._model = _InPlaceOfTheModel(config, _precision(model_args, config))
        self._support = SUPPORTED[config.model_type]
        self._seen_token = _token(config, self._support.modality)
        self._room = model_args.vllm_maxlen - max_new_tokens
        self._yes_no = first_tokens(self.tokenizer)
        self._numbers = map(str, itertools.count())
        try:
            self._start(model_args, max_new_tokens)
        except NOT_LOADED as error:
            raise not_loaded(keys, error) from error

    def _start(self, model_args: Any, max_new_tokens: int) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = (model_args.adapter_name_or_path or [None])[0]
        self.llm = LLM(**_engine_arguments(model_args, self._model, self._support.modality, adapter))
        engine = self.llm.llm_engine
        self._lora = None if adapter is None else LoRARequest("adapter", 1, adapter)
        if self._lora is not None:
            engine.add_lora(self._lora)
        if self._support.counts_positions:
            self.llm.collective_rpc(TrainedPositions.take_trained_positions.__name__)
        self._processor_of_vllm = engine.renderer.get_mm_processor()
        self._sampling = SamplingParams(
            temperature=0,
            max_tokens=max_new_tokens,
            ignore_eos=True,  # the host's stop tokens, and no other
            stop_token_ids=self.template.get_stop_token_ids(self.tokenizer),
            logprob_token_ids=None if self._yes_no is None else [*self._yes_no[0], *self._yes_no[1]],
            detokenize=False,
        )

    def prepare(self, prompt: str, row: GroundedRow, images_fps: float | None = None) -> str:
        """Hand one question to vLLM, which begins at once; returns its number.

        Raises RowError, see `Frames`, and ValueError for a question that does not fit.
        """
        from vistadpo_plugin.evaluation.vllm_backend.inputs import engine_input

        prepared = asked(prompt, self.frames(row, images_fps), self, self._model)
        ids = prepared["inputs"][0].tolist()
        if len(ids) > self._room:
            raise ValueError(
                f"{row.id}: the question takes {len(ids)} tokens with its video, and `vllm_maxlen` leaves {self._room} "
                "beside the reply. Raise it."
            )
        given = engine_input(ids, media(prepared), self._support, self._seen_token, self._processor_of_vllm)
        number = next(self._numbers)
        self.llm.llm_engine.add_request(number, given, self._sampling, lora_request=self._lora)
        return number

    def answer(self, prepared: list[str]) -> list[Answer]:
        """Reply and margin of each question that `prepare` numbered."""
        made = {output.request_id: output.outputs[0] for output in self._finished()}
        replies = [list(made[number].token_ids) for number in prepared]
        texts = self.tokenizer.batch_decode(replies, skip_special_tokens=True, clean_up_tokenization_spaces=True)
        return [
            Answer(text, self._yes_margin(made[number].logprobs)) for text, number in zip(texts, prepared, strict=True)
        ]

    def _finished(self) -> Iterator[Any]:
        engine = self.llm.llm_engine
        while engine.has_unfinished_requests():
            yield from (output for output in engine.step() if output.finished)

    def _yes_margin(self, logprobs: Any) -> float | None:
        """log p(yes) - log p(no), from vLLM's log-probabilities of these tokens at the reply's first."""
        if self._yes_no is None:
            return None
        first = logprobs[0]
        yes, no = (_log_sum(first[token].logprob for token in tokens) for tokens in self._yes_no)
        return yes - no

    def close(self) -> None:
        """End vLLM's processes, and with them give the memory back for the next model."""
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()
        torch_gc()


class _InPlaceOfTheModel:
    """What the host's preparation of a question asks of a model: its config, its precision, and where it is."""

    device = torch.device("cpu")

    def __init__(self, config: Any, dtype: torch.dtype):
        self.config, self.dtype = config, dtype

    def modules(self) -> Iterator[torch.nn.Module]:
        """None: position ids are counted in vLLM."""
        return iter(())


def _precision(model_args: Any, config: Any) -> torch.dtype:
    """The stored one, in which the host's own inference loads every model, unless `infer_dtype` names another."""
    if model_args.infer_dtype == "auto":
        return config.dtype or config.get_text_config().dtype or torch.float32
    return getattr(torch, model_args.infer_dtype)


def _token(config: Any, modality: str) -> int:
    """The token that stands for what is seen; families name it differently."""
    name = f"{modality}_token"
    return getattr(config, f"{name}_id", None) or getattr(config, f"{name}_index")


def _engine_arguments(model_args: Any, model: Any, modality: str, adapter: str | None) -> dict[str, Any]:
    """vLLM's, from the host's keys as its own vLLM engine reads them; what `vllm_config` says comes last."""
    videos, frames = (1, 0) if modality == "video" else (0, model_args.video_maxlen)
    arguments = {
        "model": model_args.model_name_or_path,
        "revision": model_args.model_revision,
        "trust_remote_code": model_args.trust_remote_code,
        "download_dir": model_args.cache_dir,
        "dtype": str(model.dtype).removeprefix("torch."),
        "max_model_len": model_args.vllm_maxlen,
        # A video is encoded in one piece.
        "max_num_batched_tokens": max(_LEAST_BATCHED_TOKENS, model_args.vllm_maxlen),
        "tensor_parallel_size": get_device_count() or 1,
        "gpu_memory_utilization": model_args.vllm_gpu_util,
        "enforce_eager": model_args.vllm_enforce_eager,
        "generation_config": "vllm",  # none of the checkpoint's
        "limit_mm_per_prompt": {"video": videos, "image": frames},
        "mm_processor_cache_gb": 0,  # nothing is processed there
        "worker_extension_cls": f"{TrainedPositions.__module__}.{TrainedPositions.__qualname__}",
        "disable_log_stats": True,
    }
    if adapter is not None:
        rank = max(lora_rank(adapter), model_args.vllm_max_lora_rank)
        arguments |= {"enable_lora": True, "max_lora_rank": next(known for known in LORA_RANKS if known >= rank)}
    return arguments | (model_args.vllm_config or {})


def _log_sum(values: Iterable[float]) -> float:
    return torch.logsumexp(torch.tensor(list(values), dtype=torch.float64), dim=0).item()
