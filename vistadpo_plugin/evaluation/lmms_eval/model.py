"""A model of lmms-eval that answers with the host's inference: its template, processor and frames, greedily.

Imported by lmms-eval, through the manifest in `__init__.py`, and by nothing else.
"""

from __future__ import annotations

import os
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from tqdm import tqdm

from vistadpo_plugin.evaluation.inference import Responder
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.videos import viewed

MAX_NEW_TOKENS = 1024
"""Where a task names no limit, as in lmms-eval's own models."""


class LlamaFactoryModel(lmms):
    """Answers questions about one video each, one at a time.

    `keys` are the host's inference keys as in an evaluation recipe, e.g. adapter_name_or_path.
    """

    is_simple = False

    def __init__(
        self,
        model_name_or_path: str,
        template: str,
        video_maxlen: int,
        batch_size: int | str = 1,
        max_batch_size: int | str | None = None,
        device: str | None = None,
        **keys: Any,
    ) -> None:
        super().__init__()
        if str(batch_size) != "1":
            raise ValueError(f"vistadpo answers one question at a time: leave out --batch_size {batch_size}.")
        if device is not None:
            raise ValueError(
                f"LLaMA-Factory chooses the device: set CUDA_VISIBLE_DEVICES instead of --device {device}."
            )
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError("vistadpo runs in one process: start lmms-eval without `accelerate launch` or torchrun.")
        keys.update(model_name_or_path=model_name_or_path, template=template, video_maxlen=video_maxlen)
        self.responder = Responder(keys, MAX_NEW_TOKENS)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The reply to each request, in their order. Raises ValueError for one that cannot be asked."""
        replies = []
        for request in tqdm(requests, desc="Model Responding"):
            context, doc_to_messages, generation, doc_id, task, split = request.args
            where = f"{task}, {split} {doc_id}"
            question = read_messages(doc_to_messages(self.task_dict[task][split][doc_id]), where)
            _check_greedy(generation, where)
            prepared = self.responder.prepare(question.prompt, viewed(question, question.video))
            prepared["generation_config"].max_new_tokens = generation.get("max_new_tokens", MAX_NEW_TOKENS)
            (reply,) = self.responder.reply([prepared])
            replies.append(cut(reply, generation.get("until")))
            self.cache_hook.add_partial("generate_until", (context, generation), replies[-1])
        return replies

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise NotImplementedError("vistadpo answers single questions: tasks of several rounds are not supported.")

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise NotImplementedError(
            "vistadpo only generates; log-probabilities on grounded rows are what `vistadpo evaluate probe` gives."
        )


def read_messages(messages: list[dict[str, Any]], where: str) -> Question:
    """The question that a conversation of a task asks, `where` being its id and `video` a path of its own.

    Raises ValueError for anything but one question about one video file or a part of one.
    """
    parts = [part for message in messages for part in message["content"]]
    videos = [part for part in parts if part["type"] == "video"]
    others = {part["type"] for part in parts} - {"video", "text"}
    if [message["role"] for message in messages] != ["user"] or others or len(videos) != 1:
        raise ValueError(f"{where}: vistadpo answers one question about one video; this is something else.")
    (video,) = videos
    part = {"start": video.get("start_time"), "end": video.get("end_time")}
    given = [name for name, seconds in part.items() if seconds is not None]
    if not isinstance(video["url"], str) or len(given) == 1:
        raise ValueError(f"{where}: vistadpo needs the path of a video, and start and end of a part of it or neither.")
    prompt = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return Question(where, video["url"], prompt, answer=None, subset="", details=part if given else {})


def cut(reply: str, until: str | list[str] | None) -> str:
    """The reply up to the first of the task's stop strings; greedily it would have begun in the same way."""
    for stop in [until] if isinstance(until, str) else until or []:
        reply = reply.split(stop)[0] if stop else reply
    return reply


def _check_greedy(generation: dict[str, Any], where: str) -> None:
    temperature = generation.get("temperature")
    samples = generation["do_sample"] and temperature != 0 if "do_sample" in generation else (temperature or 0) > 0
    if samples or (generation.get("num_beams") or 1) > 1:
        raise ValueError(
            f"{where}: vistadpo decodes greedily, the task wants sampling or beams. Say "
            "--gen_kwargs temperature=0,do_sample=False,num_beams=1 if greedy replies will do."
        )
