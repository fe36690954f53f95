"""`pref_ftx` and `ld_alpha` against the host's own DPO on rows that both train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from capture import record_scores
from conftest import Demo, Run, run_recipe, tiny_recipe, write_rows
from rounding import NATS

RESPONSE_ALONE = {f"vista_{term}_weight": 0.0 for term in ("video", "clip", "object", "token")}
BOTH = {"pref_ftx": 0.5, "ld_alpha": 0.3}


@pytest.fixture(scope="module")
def plain(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe on rows with two answers of unequal length, the longer one chosen in every second row."""
    folder = tmp_path_factory.mktemp("anchor")
    rows = []
    for number, row in enumerate(demo.rows[:4]):
        answers = [row["chosen"], f"{row['rejected']} {row['rejected']} {row['prompt']}"]
        chosen, rejected = answers[:: 1 if number % 2 else -1]
        rows.append({"video": row["video"], "prompt": row["prompt"], "chosen": chosen, "rejected": rejected})
    write_rows(folder / "data", rows)
    steps = {"max_steps": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 2, "disable_shuffling": True}
    return {**tiny_recipe(demo, folder / "out"), **steps, "dataset": "rows", "dataset_dir": str(folder / "data")}


def compared(run: Run) -> list[dict[str, float]]:
    """What both stages log, step by step."""
    names = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")
    return [{name: entry[name] for name in names} for entry in run.log if "loss" in entry]


@pytest.mark.parametrize("keys", [{"pref_ftx": 0.5}, {"ld_alpha": 0.0}, {"ld_alpha": 1.0}, BOTH], ids=json.dumps)
def test_losses_are_those_of_the_hosts_dpo(plain: dict[str, Any], tmp_path: Path, keys: dict[str, Any]) -> None:
    """Three steps: the losses of the second and third also say that gradients and weights are the same."""
    host = compared(run_recipe({**plain, **keys, "stage": "dpo", "output_dir": str(tmp_path / "host")}))
    without = compared(run_recipe({**plain, "stage": "dpo", "output_dir": str(tmp_path / "without")}))
    changed = max(abs(one["loss"] - other["loss"]) for one, other in zip(host, without, strict=True))
    assert changed < 1e-6 if keys == {"ld_alpha": 1.0} else changed > 0.05
    ours = run_recipe({**plain, **keys, **RESPONSE_ALONE, "output_dir": str(tmp_path / "ours")})
    for one, other in zip(compared(ours), host, strict=True):
        assert one == pytest.approx(other, abs=NATS, rel=1e-4)
    assert len({entry["loss"] for entry in host}) == 3
    assert ("vista/sft_loss" in ours.log[0]) == ("pref_ftx" in keys)


def test_it_is_the_same_packed_separate_and_cached_and_nothing_more_is_scored(
    plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = record_scores(monkeypatch)
    run_recipe({**plain, **RESPONSE_ALONE, "output_dir": str(tmp_path / "off")})
    scored = [one.batch["sequences"] for one in passes]
    found = {}
    for name, keys in {
        "packed": {},
        "separate": {"vista_prefix_sharing": False},
        "cached": {"vista_reference_cache": str(tmp_path / "cache")},
    }.items():
        passes.clear()
        found[name] = compared(
            run_recipe({**plain, **RESPONSE_ALONE, **BOTH, **keys, "output_dir": str(tmp_path / name)})
        )
        if name == "packed":
            assert [one.batch["sequences"] for one in passes] == scored == [4] * 6
    for one, other in zip(found["packed"] * 2, found["separate"] + found["cached"], strict=True):
        assert one == pytest.approx(other, abs=NATS, rel=1e-4)
