"""The host's chat model and engine: videos read as in training, and what their inputs lack or cannot be."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Callable
from typing import Any

from vistadpo_plugin.serving.replies import REPLY


def reads_videos(achat: Callable) -> Callable:
    """The host's `ChatModel.achat`, asked with frames in the place of videos."""
    signature = inspect.signature(achat)

    @functools.wraps(achat)
    async def asked(*args: Any, **kwargs: Any) -> Any:
        given = await _with_frames(signature, *args, **kwargs)
        return await achat(*given.args, **given.kwargs)

    return asked


def stream_reads_videos(astream_chat: Callable) -> Callable:
    """The same of `ChatModel.astream_chat`, token by token."""
    signature = inspect.signature(astream_chat)

    @functools.wraps(astream_chat)
    async def asked(*args: Any, **kwargs: Any) -> AsyncGenerator[str, None]:
        given = await _with_frames(signature, *args, **kwargs)
        async for token in astream_chat(*given.args, **given.kwargs):
            yield token

    return asked


async def _with_frames(signature: inspect.Signature, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """What a question is asked with, its videos as training reads them."""
    from vistadpo_plugin.serving.videos import read_videos

    given = signature.bind(*args, **kwargs)
    given.apply_defaults()
    engine, videos = given.arguments["self"].engine, given.arguments["videos"]
    plugin, processor = engine.template.mm_plugin, engine.processor
    given.arguments["videos"] = await asyncio.to_thread(read_videos, videos, plugin, processor)
    return given


def complete(inputs: dict[str, Any], tokens: int, asked: dict[str, Any]) -> None:
    """Add to what the host's engine made for `generate` of a prompt of `tokens` tokens, asked with `asked`.

    Raises ValueError where the prompt with its videos has no room in the model.
    """
    from transformers import StoppingCriteriaList

    from vistadpo_plugin.models.token_kinds import add_token_kinds
    from vistadpo_plugin.serving.videos import refuse_too_long

    add_token_kinds(asked["model"], inputs)
    reply = asked.get("input_kwargs", {}).get(REPLY)
    if reply is not None:
        inputs["stopping_criteria"] = StoppingCriteriaList([reply])
    if asked.get("videos"):
        refuse_too_long(asked["model"], asked["processor"], tokens)
