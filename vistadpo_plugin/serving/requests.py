"""Requests to the host's API: folders of frames beside video files, and a sentence for what cannot be answered."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable
from typing import Any

from vistadpo_plugin.data.video.video import VideoError
from vistadpo_plugin.serving.videos import FrameFolder

WHERE = "A video is a file or a folder of frames below the server's SAFE_MEDIA_PATH, with ALLOW_LOCAL_FILES not off."


def find_videos(request: Any) -> None:
    """Make folders of frames in a chat-completions request known to the host, as `FrameFolder`.

    Raises VideoError for a path at which there is nothing, or no images, and the host's HTTPException for one that may
    not be read.
    """
    for message in request.messages:
        for item in message.content if isinstance(message.content, list) else ():
            if item.type == "video_url" and item.video_url is not None:
                item.video_url.url = _find(item.video_url.url)


def _find(url: str) -> str:
    if url.startswith(("data:", "http://", "https://")):
        return url
    _check(url)  # before anything else, so that an answer never tells what lies elsewhere
    if os.path.isdir(url):
        folder = FrameFolder(url)
        for image in folder.images:  # each may be a link to somewhere else
            _check(image)
        return folder
    if not os.path.isfile(url):
        raise VideoError(f"there is no video file and no folder of frames {url}. {WHERE}")
    return url


def _check(path: str) -> None:
    """The host's check of a local path, by folders, with a hint."""
    from fastapi import HTTPException
    from llamafactory.api.common import SAFE_MEDIA_PATH, check_lfi_path

    try:
        check_lfi_path(path)
        # The host compares texts, and finds /data/safe2 below /data/safe.
        safe = os.path.realpath(SAFE_MEDIA_PATH)
        if os.path.commonpath([safe, os.path.realpath(path)]) != safe:
            raise HTTPException(400, "Invalid or inaccessible file path.")
    except HTTPException as error:
        raise HTTPException(error.status_code, f"{error.detail} {WHERE}") from None


async def respond(host_respond: Callable, request: Any, chat_model: Any) -> Any:
    """The host's reply; status 400 with the reason where a question cannot be asked, which the host has as 500."""
    try:
        find_videos(request)
        return await host_respond(request, chat_model)
    except ValueError as error:
        raise _bad_request(error) from error


def stream(host_stream: Callable, request: Any, chat_model: Any) -> AsyncGenerator[str, None]:
    """The host's stream of chunks. What is wrong with the request itself is status 400, also what the host finds.

    A video is read when the stream has begun and its status is sent. What goes wrong then is the stream's last chunk,
    `{"error": {"message": ...}}`, from which OpenAI's client makes an APIError; the host breaks off without a word.
    """
    try:
        find_videos(request)
    except ValueError as error:
        raise _bad_request(error) from error
    chunks = host_stream(request, chat_model)
    try:
        # The host checks the request on the way to the first chunk, and awaits nothing before it.
        chunks.__anext__().send(None)
    except StopIteration as yielded:
        return _stream_on(yielded.value, chunks)
    raise RuntimeError("the host awaits something before the first chunk of a stream: not the version we know.")


async def _stream_on(first: str, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    yield first
    try:
        async for chunk in chunks:
            yield chunk
    except ValueError as error:
        yield json.dumps({"error": {"message": str(error), "type": "invalid_request_error", "code": 400}})


def _bad_request(error: ValueError) -> Exception:
    from fastapi import HTTPException

    return HTTPException(400, str(error))
