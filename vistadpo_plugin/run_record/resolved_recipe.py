"""The recipe of a run, complete: every key that was set and every vista_ key, as a recipe that can be run again."""

from __future__ import annotations

import argparse
import copy
import enum
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import yaml

from vistadpo_plugin.arguments import VistaArguments

_SECRET = re.compile(r"(^|_)(token|secret|password|api_?key|access_key|webhook_url|credentials?)$", re.IGNORECASE)
# PyYAML writes the text 1e-5 bare, which OmegaConf, the host's reader, takes for a number.
_LIKE_A_NUMBER = re.compile(r"[-+]?\.?\d")


def given_keys(parser: argparse.ArgumentParser, args: dict[str, Any] | list[str]) -> dict[str, Any]:
    """The keys that a recipe, or a command line of options, sets, by name; `parser` is the host's."""
    if isinstance(args, dict):
        return copy.deepcopy(args)  # parsing changes some in place
    unset = object()
    namespace = argparse.Namespace(**{action.dest: unset for action in parser._actions})
    parser.parse_known_args(args, namespace)
    return {name: value for name, value in vars(namespace).items() if value is not unset}


@dataclass(frozen=True)
class ResolvedRecipe:
    """`given`: what was set, in its order, with values of vista_ keys as they were read; `defaults`: the vista_ keys
    that were not; `left_out`: names of keys that were set and hold secrets."""

    given: dict[str, Any]
    defaults: dict[str, Any]
    left_out: tuple[str, ...]

    @property
    def keys(self) -> dict[str, Any]:
        """All keys: what the host takes as a recipe."""
        return {**self.given, **self.defaults}

    def to_yaml(self) -> str:
        """The keys as the text of a recipe; the host reads the same values from it."""
        return f"### as set\n{_dump(self.given)}" + (
            f"\n### vista_ keys at their defaults\n{_dump(self.defaults)}" if self.defaults else ""
        )


def resolve(given: dict[str, Any], vista: VistaArguments) -> ResolvedRecipe:
    """Complete `given`, see `given_keys`, by the values in `vista`; secrets stay out, also those inside of values."""
    left_out: list[str] = []
    values = {item.name: getattr(vista, item.name) for item in fields(VistaArguments)}
    kept = {name: values.get(name, value) for name, value in given.items()}
    return ResolvedRecipe(
        _without_secrets(kept, "", left_out.append),
        {name: value for name, value in values.items() if name not in given},
        tuple(left_out),
    )


def _without_secrets(value: Any, place: str, leave_out: Callable[[str], None]) -> Any:
    """`value` in the types of YAML; `leave_out` is told the names of the keys that are not in it."""
    if isinstance(value, dict):
        kept = {}
        for name, one in value.items():
            inner = f"{place}{name}"
            if isinstance(name, str) and _SECRET.search(name) and one is not None:
                leave_out(inner)
            else:
                kept[name] = _without_secrets(one, f"{inner}.", leave_out)
        return kept
    if isinstance(value, list | tuple | set):
        return [_without_secrets(one, place, leave_out) for one in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str) and value.lstrip().startswith("{"):  # a mapping as JSON, which some keys take
        try:
            read = json.loads(value)
        except ValueError:
            return value
        inside: list[str] = []
        cleaned = _without_secrets(read, place, inside.append)
        for name in inside:
            leave_out(name)
        return json.dumps(cleaned) if inside else value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _LIKE_A_NUMBER.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(keys: dict[str, Any]) -> str:
    return yaml.dump(keys, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
