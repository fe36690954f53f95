"""Videos in `llamafactory-cli chat`: a line `/video PATH` goes with the next question and stays in the conversation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from vistadpo_plugin.data.rows.values import VIDEO_PLACEHOLDER
from vistadpo_plugin.data.views.frames import plural
from vistadpo_plugin.serving.replies import REPLY, Reply
from vistadpo_plugin.serving.videos import read_videos

COMMAND = "/video"
HINT = f"Use `{COMMAND} PATH` (a video file or a folder of frames) before the question that it goes with."

# What we note in the user's messages of the host's history, which its own loop keeps and clears.
_FRAMES, _REFUSED = "vistadpo_frames", "vistadpo_refused"


def with_videos(chat_model: type) -> type:
    """The host's chat model for its terminal loop, which hands over nothing but the list of messages."""

    class TerminalChatModel(chat_model):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            if self.engine.template.mm_plugin.video_token is not None:
                print(HINT)

        def stream_chat(self, messages: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Iterator[str]:
            """The reply, token by token. What cannot be read or asked is said instead, and then left out."""
            last = messages[-1]
            command, _, path = last["content"].strip().partition(" ")
            try:
                if command == COMMAND:
                    last[_FRAMES] = self._read(path)
                    yield f"[{plural(len(last[_FRAMES]), 'frame')}, with your next question]"
                else:
                    asked, videos = conversation(messages)
                    kwargs[REPLY] = Reply()
                    try:
                        yield from super().stream_chat(asked, *args, videos=videos or None, **kwargs)
                    finally:  # also of Ctrl-C before the last token
                        kwargs[REPLY].end()
            except ValueError as error:
                last[_REFUSED] = True
                yield f"[{error}]"

        def _read(self, path: str) -> Any:
            path = os.path.expanduser(path.strip().strip("'\""))
            if not path:
                raise ValueError(HINT)
            (frames,) = read_videos([path], self.engine.template.mm_plugin, self.engine.processor)
            return frames

    return TerminalChatModel


def conversation(messages: list[dict[str, Any]]) -> tuple[list[dict[str, str]], list[Any]]:
    """The host's history (user, assistant, ..., user) without our commands, as (messages, their videos).

    Videos stand before the question that follows them, each on a line of its own as in a training row.
    """
    asked, videos, waiting = [], [], []
    for message, *reply in (messages[start : start + 2] for start in range(0, len(messages), 2)):
        if _FRAMES in message:
            waiting.append(message[_FRAMES])
        elif _REFUSED not in message:
            content = f"{VIDEO_PLACEHOLDER}\n" * len(waiting) + message["content"]
            asked += [{"role": message["role"], "content": content}, *reply]
            videos += waiting
            waiting = []
    return asked, videos
