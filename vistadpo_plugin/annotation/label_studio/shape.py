"""The shape of a task in Label Studio's JSON export, as far as it is read here; nothing is said of the rest."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class _Read(BaseModel):
    model_config = ConfigDict(strict=True)


class _Value(_Read):
    text: str | list[str] | None = None
    choices: list[str] = []
    timelinelabels: list[str] = []


class _Result(_Read):
    from_name: str | None = None
    value: _Value | None = None


class _Annotation(_Read):
    was_cancelled: bool | None = None
    result: list[_Result] | None = None


class _Task(_Read):
    annotations: list[_Annotation] = []


def check_shape(task: dict[str, Any]) -> None:
    """Raises ValueError, with the place, for a task that Label Studio does not write."""
    try:
        _Task.model_validate(task)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"`{place}` is not what Label Studio writes there") from None
