"""From a checkpoint's names to a model's: everything finds its place, or is named in an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from vistadpo_plugin.checkpoints.reading import reading
from vistadpo_plugin.checkpoints.weights import Weight

SHOWN = 5


class Dropped(str):
    """Why a weight is left behind: what a key map returns in place of a name."""


ROTARY = Dropped("rotary frequencies, which are computed")
COUNTED = Dropped("position ids, which are counted")


def rename_weights(
    source: dict[str, Weight], rename: Callable[[str], str | None], dropped: Counter[str]
) -> tuple[dict[str, Weight], list[str]]:
    """Weights under their new names, and the names for which `rename` returned None; `dropped` counts reasons.

    Raises ValueError when two weights get one name.
    """
    weights: dict[str, Weight] = {}
    origin: dict[str, str] = {}
    strays = []
    for name, weight in source.items():
        target = rename(name)
        if target is None:
            strays.append(name)
        elif isinstance(target, Dropped):
            dropped[target] += 1
        elif target in weights:
            raise ValueError(f"both {origin[target]} and {name} would become {target}; one of them does not belong.")
        else:
            weights[target], origin[target] = weight, name
    return weights, strays


def expected_shapes(
    model_class: type, config: Any, weights: dict[str, Weight], source: Path
) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of a model; no memory is taken for them.

    Raises ValueError, naming the file `source` that `config` is from, where it makes no model, or one of more layers
    than there are `weights`, which could take for ever.
    """
    for part in (config.text_config, config.vision_config):
        if part.num_hidden_layers > len(weights):
            raise ValueError(
                f"{source} speaks of {part.num_hidden_layers} layers, but there are {len(weights)} weights in all; the "
                "files do not belong together."
            )
    with reading(source, f"a configuration of {model_class.__name__}"), torch.device("meta"):
        model = model_class(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def check_weights(weights: dict[str, Weight], expected: dict[str, tuple[int, ...]], strays: Iterable[str]) -> None:
    """Raise ValueError that names what is missing, left over (also `strays`) or of another shape than `expected`."""
    misshapen = [
        f"{name} is {list(weight.shape)}, expected {list(expected[name])}"
        for name, weight in weights.items()
        if name in expected and weight.shape != expected[name]
    ]
    problems = [
        _some("weights are missing", sorted(expected.keys() - weights.keys())),
        _some("weights have no place in the model", sorted([*strays, *(weights.keys() - expected.keys())])),
        _some("weights have another shape", misshapen),
    ]
    found = [problem for problem in problems if problem]
    if found:
        raise ValueError(
            f"{'; '.join(found)}. Nothing was written. Either files are missing, or the layout is not the one that "
            "was inferred (docs/checkpoints.md)."
        )


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{rest}"
