"""`vistadpo bench --uneven`: rows of unequal length, the same in every run, and what padding them costs."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from commands.bench_made import TINY, workers_here

from vistadpo_plugin.bench.presets import PRESETS
from vistadpo_plugin.bench.rows import UNEVEN_ROWS
from vistadpo_plugin.bench.worker import fed
from vistadpo_plugin.commands.bench import main
from vistadpo_plugin.demo.tiny_model import encode_turn

VIDEO = 8 * 5  # frames, and tokens of each: 2 x 2 patches and the class token
STEPS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    with workers_here():
        arguments = ["--preset", "tiny", "--uneven", "--runs", "host,dpo,cold", "--steps", str(STEPS), "--no-decode"]
        assert main([*arguments, "--folder", str(folder)]) == 0
    return folder / "tiny-uneven"


@pytest.fixture
def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data" / "rows.jsonl").read_text().splitlines()]


@pytest.fixture
def runs(folder: Path) -> dict[str, dict[str, Any]]:
    content = json.loads((folder / "bench.json").read_text())
    assert content["command"].endswith(" --uneven")
    return {entry["run"]: entry for entry in content["results"]}


@pytest.fixture
def batches(folder: Path, rows: list[dict[str, Any]]) -> list[list[list[list[int]]]]:
    """The host's micro-batches in the order of its file: of each of two rows the token ids of its two sequences."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    known = {(row["video"], row["chosen"]): row for row in rows}
    made = []
    for asked in json.loads((folder / "data" / "host.json").read_text()):
        row = known[asked["videos"][0], asked["chosen"]["value"]]
        turns = [encode_turn(tokenizer, row["prompt"], row[field], VIDEO) for field in ("chosen", "rejected")]
        made.append([prompt + answer for prompt, answer in turns])
    return [made[first : first + 2] for first in range(0, len(made), 2)]


def padded(batch: list[list[list[int]]]) -> int:
    """Positions of the host's batch: all as long as the longest, rounded up to a multiple of 8."""
    longest = max(len(ids) for row in batch for ids in row)
    return 4 * 8 * -(-longest // 8)


def packed(batch: list[list[list[int]]], video: int) -> int:
    """Positions of a packed batch: each distinct beginning once in a row, the text before the videos once in all."""
    distinct = [{tuple(ids[:end]) for ids in row for end in range(1, len(ids))} for row in batch]
    before = batch[0][0].index(video)
    return sum(map(len, distinct)) - before


def test_lengths_and_groundings_differ(folder: Path, rows: list[dict[str, Any]]) -> None:
    """The mean within four standard errors; of 32 rows four lack each of three fields."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    assert len(rows) == UNEVEN_ROWS
    for field in ("event", "box", "rejected_irrelevant"):
        assert sum(field not in row for row in rows) == UNEVEN_ROWS // 8
    prompts, answers = (
        [len(tokenizer.encode(row[field], add_special_tokens=False)) for row in rows] for field in ("prompt", "chosen")
    )
    assert len(set(prompts)) > 4 and len(set(answers)) > 4
    error = stdev(answers) / len(answers) ** 0.5
    assert abs(mean(answers) - (TINY.answer_tokens - 1)) < 4 * error


def test_every_run_takes_the_same_rows_at_each_step(
    folder: Path, runs: dict[str, dict[str, Any]], batches: list[list[list[list[int]]]]
) -> None:
    """The timed steps are those after the first, in the order of the host's file; for policy and reference, per row."""
    from transformers import AutoTokenizer

    video = AutoTokenizer.from_pretrained(folder / "model").convert_tokens_to_ids("<video>")
    timed = batches[TINY.warmup : TINY.warmup + STEPS]
    assert runs["host"]["tokens_per_row"] == sum(2 * padded(batch) for batch in timed) / (2 * STEPS)
    assert runs["dpo"]["tokens_per_row"] == sum(2 * packed(batch, video) for batch in timed) / (2 * STEPS)


def test_padding_is_of_all_rows(runs: dict[str, dict[str, Any]], batches: list[list[list[list[int]]]]) -> None:
    real = sum(len(ids) for batch in batches for row in batch for ids in row)
    assert runs["host"]["padding"] == pytest.approx(1 - real / sum(map(padded, batches)))
    assert runs["cold"]["padding"] == runs["dpo"]["padding"] == 0


def test_fed_counts_every_kind_of_batch() -> None:
    import torch

    host = {"input_ids": torch.zeros(2, 5), "attention_mask": torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])}
    packed = {"input_ids": torch.zeros(1, 7), "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool)}
    assert fed(host) == (10, 2) and fed(packed) == (7, 0)
    assert fed({"groups": [host, packed]}) == (17, 2)
    assert fed({"passes": [host, host]}) == (20, 4)


def test_more_steps_than_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One untimed and 15 timed steps of two rows take all 32; a profiled step is one more."""
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    arguments = ["--preset", "tiny", "--uneven", "--steps", "15", "--profile", "--folder", str(tmp_path / "bench")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "--uneven has 32 rows, 1 untimed and 15 timed steps and the profiled one take 34" in message
    assert not (tmp_path / "bench").exists()
