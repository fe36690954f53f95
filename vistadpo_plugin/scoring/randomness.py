"""What is random in a forward: never in the reference, and nowhere in packed rows.

A margin compares log-probabilities of policy and reference. Noise in the reference is noise in every margin, and one
that a cache would keep for good. In a packed row sequences share tokens, and would share their noise, where separate
rows draw theirs apart: two different objectives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def switch_off_dropout(model: torch.nn.Module) -> Counter[str]:
    """Set every rate of dropout, stochastic depth or router jitter in `model` to 0; returns the names that had one.

    The host's DPO does so for `torch.nn.Dropout`, after TRL; rates that layers keep as plain numbers (attention
    dropout of most language models and towers) escape it.
    """
    found: Counter[str] = Counter()
    for name, module in model.named_modules():
        if "drop" in type(module).__name__.lower() and isinstance(getattr(module, "p", None), float) and module.p > 0:
            found[f"{_own_name(name, module)}: {module.p:g}"] += 1
            module.p = 0.0
        for key, value in vars(module).items():
            if isinstance(value, float) and value > 0 and any(word in key for word in ("drop", "jitter")):
                found[f"{key}: {value:g}"] += 1
                setattr(module, key, 0.0)
    return found


def _own_name(path: str, module: torch.nn.Module) -> str:
    """By what name of its own a layer goes in its model: `lora_dropout` of `...lora_dropout.default`."""
    return next((part for part in reversed(path.split(".")) if "drop" in part), type(module).__name__)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Meanwhile no module of `model` trains: what is random only in training is off, whatever it is.

    Layers of bitsandbytes go on as they are: nothing in them is random, and on a CPU they would take the evaluation for
    the end of training and pack their weights anew.
    """
    training = [m for m in model.modules() if m.training and not type(m).__module__.startswith("bitsandbytes.")]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def random_state(device: torch.device) -> Tensor:
    """The state of the generators that a forward on `device` would draw from; equal states: nothing was drawn."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


@contextmanager
def drawing_nothing(device: torch.device) -> Iterator[None]:
    """Raise ValueError when what runs meanwhile has drawn random numbers."""
    before = random_state(device)
    yield
    if not torch.equal(before, random_state(device)):
        raise ValueError(
            "The model draws random numbers in its forward, and it is not dropout that could be switched off. Answers "
            "that share tokens in packed rows would share them. Set `vista_prefix_sharing: false`, which is slower, or "
            "switch off what is random in the model's configuration."
        )
