"""Input of which the host would make wrong numbers without a word: an error instead."""

from __future__ import annotations

import functools
from typing import Any

from vistadpo_plugin.models.family import Family


def refuse_wrong_input(plugin: Any, family: Family) -> None:
    """Make a host's multimodal plugin raise ValueError for what the family cannot take, in every stage and in chat."""
    process_messages = plugin.process_messages

    @functools.wraps(process_messages)
    def checked(messages: list[dict], images: list, videos: list, audios: list, processor: Any) -> list[dict]:
        # Without `expand_mm_tokens` an inference engine of its own fills the placeholders in.
        reason = family.refusal(messages, images, videos) if plugin.expand_mm_tokens else None
        if reason is not None:
            raise ValueError(f"{family.name}: {reason}")
        return process_messages(messages, images, videos, audios, processor)

    plugin.process_messages = checked
    plugin.refusal = family.refusal
