"""Metrics as sums and counts, so that their means are over the rows that have a term, on all ranks together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vistadpo_plugin.training.objective import SFT_LOSS, TermResult

_RESPONSE_EXTRA = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "vista/chosen_logps",
)
_TOKEN_EXTRA = ("vista/kl_chosen", "vista/kl_rejected")


class MetricSums:
    """Running sums of the logged figures of the terms that are on.

    The keys depend on the recipe alone (its terms, and `sft`: whether `pref_ftx` is on): every rank logs the same ones
    every time. A term that no row had since the last log has no mean; it is logged as NaN, with `_rows` 0.
    """

    def __init__(self, terms: tuple[str, ...], sft: bool, device: torch.device):
        self.terms = terms
        self.columns: list[tuple[str, str]] = []  # (term whose rows are counted, logged name)
        extras = {"response": (*_RESPONSE_EXTRA, *((SFT_LOSS,) if sft else ())), "token": _TOKEN_EXTRA}
        for term in terms:
            extra = extras.get(term, ())
            names = [f"vista/{term}_{figure}" for figure in ("loss", "margin", "accuracy")]
            self.columns += [(term, name) for name in (*extra, *names)]
        self.device = device
        self.reset()

    def reset(self) -> None:
        self.sums = torch.zeros(len(self.columns), dtype=torch.float64, device=self.device)
        self.rows = torch.zeros(len(self.terms), dtype=torch.float64, device=self.device)

    def add(self, results: dict[str, TermResult]) -> None:
        """Add one batch."""
        figures: dict[str, Tensor] = {}
        for term, result in results.items():
            figures |= result.extra
            figures[f"vista/{term}_loss"] = result.loss
            figures[f"vista/{term}_margin"] = result.margin
            figures[f"vista/{term}_accuracy"] = (result.margin > 0).float()
        self.sums += torch.stack([figures[name].detach().double().sum() for _, name in self.columns])
        self.rows += torch.tensor([len(results[term].row) for term in self.terms], device=self.device)

    def means(self, reduce: Callable[[Tensor], Tensor], steps: int) -> dict[str, float]:
        """Means over rows, and mean rows a step, after `reduce` has summed over ranks; starts anew."""
        total = reduce(torch.cat([self.sums, self.rows])).tolist()
        self.reset()
        sums, rows = total[: len(self.columns)], dict(zip(self.terms, total[len(self.columns) :], strict=True))
        means = {
            name: value / rows[term] if rows[term] else float("nan")
            for (term, name), value in zip(self.columns, sums, strict=True)
        }
        return means | {f"vista/{term}_rows": rows[term] / max(steps, 1) for term in self.terms}
