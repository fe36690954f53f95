"""The rung `dpo` is vanilla DPO in what it costs and in what it trains."""

from __future__ import annotations

from typing import Any

import pytest
from capture import FirstBatch
from conftest import run_recipe, write_rows

from vistadpo_plugin.ablation.ladder import LADDER


def test_it_scores_two_answers_and_loses_like_a_row_without_the_third(
    recipe: dict[str, Any], demo: Any, tmp_path: Any
) -> None:
    """Rows with an irrelevant answer of weight 0: the losses of the same rows without one, from two answers each."""
    keys = next(rung.keys for rung in LADDER.rungs if rung.name == "dpo")
    rows = [row for row in demo.rows if "rejected_irrelevant" in row][:4]
    ends, answers = [], []
    for name, kept in (("three", rows), ("two", [{**row, "rejected_irrelevant": None} for row in rows])):
        folder = tmp_path / name
        write_rows(folder, [{k: v for k, v in row.items() if v is not None} for row in kept])
        found: list[int] = []
        run = run_recipe(
            {
                **recipe, **keys, "dataset": "rows", "dataset_dir": str(folder), "max_steps": 3,
                "per_device_train_batch_size": 4, "output_dir": str(folder / "out"),
            },
            FirstBatch(lambda model, batch, found=found: found.append(batch["sequences"])),
        )  # fmt: skip
        ends.append(run.series("loss"))
        answers.append(found)
    assert answers == [[8], [8]]
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)
    assert ends[0][-1] != ends[0][0]
