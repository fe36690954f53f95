"""Numbers of the command line, with what is wrong with them in a sentence."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable


def _above_zero(kind: Callable[[str], float], text: str) -> float:
    number = kind(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"has to be above 0, got {text}")
    return number


def share(text: str) -> float:
    """A number from 0 on and below 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"has to be at least 0 and below 1, got {text}")
    return number


rate = functools.partial(_above_zero, float)
count = functools.partial(_above_zero, int)
