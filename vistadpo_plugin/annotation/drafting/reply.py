"""What a model may reply, by schema, and why a reply cannot be used.

`read_*` return what is good of a reply and complaints about the rest; the complaints are what the model is told when it
is asked again, and what is counted when it does not help.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vistadpo_plugin.data.rows import strict_json

NOT_JSON = "a reply that is no JSON"
NOT_OF_THE_SCHEMA = "a reply that the schema does not allow"
UNREADABLE = (NOT_JSON, NOT_OF_THE_SCHEMA)
"""Reasons that are about a reply as a whole."""
NO_LETTER = "a reply that is neither A nor B"

_SHOWN_ERRORS = 5
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL)

Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers4 = Annotated[list[Number], Field(min_length=4, max_length=4)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Drafted(_Strict):
    """One draft as the model writes it. `event` and `keyframe` are seconds, `box` as the prompt has it."""

    question: Text = Field(description="the question")
    answer: Text = Field(description="the right answer")
    wrong_answer: Text = Field(description="a plausible answer that is wrong")
    wrong_kind: Literal["object", "attribute", "action", "order", "count"] = Field(
        description="what the wrong answer gets wrong"
    )
    off_topic_answer: Text = Field(description="an answer that has nothing to do with the video")
    event: Annotated[list[Number], Field(min_length=2, max_length=2)] = Field(
        description="[start, end] in seconds of the moment that the answer is about"
    )
    keyframe: Number = Field(description="the time, in seconds, of one of the frames inside the event")
    object: Text = Field(description="in a few words, which object on that frame the answer is about")
    box: Numbers4 = Field(description="the box around that object on that frame")


class Drafts(_Strict):
    """The reply to a request for drafts."""

    drafts: Annotated[list[Drafted], Field(min_length=1)]


class Box(_Strict):
    """The reply to a request for a box."""

    box: Numbers4


_REPLIES: dict[str, type[_Strict]] = {"drafts": Drafts, "box": Box}


@dataclass(frozen=True)
class Complaint:
    """Why something of a reply cannot be used: a reason that is counted, and a sentence about this one."""

    reason: str
    detail: str


Read = TypeVar("Read")
Reading = tuple[list[Read], list[Complaint]]
"""What is good, and what is not."""


def schema(name: str, box: str) -> dict[str, Any]:
    """The JSON schema of `drafts` or `box`, as the model is shown it; `box` says how a box is given."""
    found = _REPLIES[name].model_json_schema()
    for part in (found, *found.get("$defs", {}).values()):
        part.pop("description", None)  # the docstring is for us
        if "box" in part["properties"]:
            about = part["properties"]["box"].get("description")
            part["properties"]["box"]["description"] = f"{about}: {box}" if about else box
    return found


def read_drafts(reply: str) -> Reading[Drafted]:
    """The drafts of a reply; none where not all of it is as the schema says."""
    found, complaints = _read(reply, TypeAdapter(Drafts))
    return (found.drafts if found else []), complaints


def read_box(reply: str) -> Reading[list[float]]:
    """The numbers of a box."""
    found, complaints = _read(reply, TypeAdapter(Box))
    return ([found.box] if found else []), complaints


def read_letter(reply: str) -> Reading[str]:
    """A or B; a full stop, brackets, quotes or emphasis around it do not count."""
    found = re.fullmatch(r"""[\s("'*`\[]*([ABab])[\s)"'*`.:\]]*""", reply)
    if found:
        return [found[1].upper()], []
    return [], [Complaint(NO_LETTER, f"it is neither A nor B, but {_short(reply)}.")]


def _read(reply: str, kind: TypeAdapter[Any]) -> tuple[Any, list[Complaint]]:
    fenced = _FENCE.fullmatch(reply.strip())
    text = fenced[1] if fenced else reply
    try:
        strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, [Complaint(NOT_JSON, f"it is no JSON: {error}.")]
    try:
        return kind.validate_json(text), []
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return None, [
            Complaint(NOT_OF_THE_SCHEMA, f"{'.'.join(map(str, problem['loc'])) or 'the reply'}: {problem['msg']}.")
            for problem in problems[:_SHOWN_ERRORS]
        ]


def _short(text: str) -> str:
    shown = json.dumps(" ".join(text.split()))
    return shown if len(shown) <= 60 else f'{shown[:56]}..."'
