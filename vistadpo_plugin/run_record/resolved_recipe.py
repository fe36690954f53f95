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
from vistadpo_plugin.secrets.names import is_closed_block, is_secret_name, is_secret_value
from vistadpo_plugin.secrets.texts import holds_secret

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
    that were not; `left_out`: names of keys that were set and hold what looks like a secret."""

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


_LEFT_OUT = object()
HIDDEN = "(left out: it looks like a secret)"


def _without_secrets(value: Any, place: str, leave_out: Callable[[str], None]) -> Any:
    """`value` in the types of YAML, or _LEFT_OUT; `leave_out` is told the names of the keys that are not in it.

    A list that holds a secret text is left out whole: with a hole it would be another list.
    """
    if isinstance(value, dict):
        return _mapping(value, place, leave_out)
    if isinstance(value, list | tuple | set):
        items = list(value)
        if _is_secret_list(items):
            return _LEFT_OUT
        kept = [_without_secrets(one, place, leave_out) for one in items]
        return _LEFT_OUT if any(one is _LEFT_OUT for one in kept) else kept
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    if text.lstrip()[:1] in ("{", "["):  # JSON, which some keys take as text
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            return _LEFT_OUT if holds_secret(text) else text
        inside: list[str] = []
        cleaned = _without_secrets(read, place, inside.append)
        for name in inside:
            leave_out(name)
        if cleaned is _LEFT_OUT:
            return _LEFT_OUT
        return json.dumps(cleaned) if inside else text
    return _LEFT_OUT if holds_secret(text) else text


def _mapping(value: dict[Any, Any], place: str, leave_out: Callable[[str], None]) -> dict[Any, Any]:
    kept = {}
    # {"name": "HF_TOKEN", "value": ...}, as containers are told their variables.
    labels = [one for name, one in value.items() if name in ("name", "key") and isinstance(one, str)]
    labelled = any(map(is_secret_name, labels))
    for name, one in value.items():
        shown = HIDDEN if isinstance(name, str) and holds_secret(name) else name
        inner = f"{place}{shown}"
        secret = shown is HIDDEN or (labelled and name == "value")
        if isinstance(name, str) and not secret and name not in ("name", "key"):
            secret = is_closed_block(name, one) or (is_secret_name(name) and is_secret_value(name, one))
        elif name == "key" and "value" not in value:
            secret = is_secret_value(name, one)
        made = _LEFT_OUT if secret else _without_secrets(one, f"{inner}.", leave_out)
        if made is _LEFT_OUT:
            leave_out(inner)
        else:
            kept[name] = made
    return kept


def _is_secret_list(items: list[Any]) -> bool:
    """Whether its texts, one by one or one behind the other (`--token`, `..`), hold a secret."""
    texts = [one for one in items if isinstance(one, str)]
    if len(items) == len(texts) == 2 and is_secret_name(items[0]) and not items[0].isalpha():
        return True  # a name and its value
    return any(map(holds_secret, texts)) or holds_secret(" ".join(texts))


def hide_secrets(value: Any) -> Any:
    """`value`, of facts under names of ours, with HIDDEN in the place of texts that hold a secret."""
    if isinstance(value, dict):
        return {name: hide_secrets(one) for name, one in value.items()}
    if isinstance(value, list):
        return [hide_secrets(one) for one in value]
    return HIDDEN if isinstance(value, str) and holds_secret(value) else value


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _LIKE_A_NUMBER.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(keys: dict[str, Any]) -> str:
    return yaml.dump(keys, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
