"""The table of a run, from a log small enough to work out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vistadpo_plugin.demo.table import LossChange, TermRow, format_files, format_table, read_loss, read_terms

NAN = float("nan")


def write_run(folder: Path) -> Path:
    """Seven steps. Response: every step has it. Clip: steps 2, 4 and 6 only. Token: never a row. Others: not logged."""
    history: list[dict[str, float]] = []
    for step in range(1, 8):
        has_clip = step % 2 == 0
        history.append(
            {
                "step": step,
                "loss": 10.0 - step,
                "vista/response_margin": float(step),
                "vista/response_accuracy": 0.0 if step < 4 else 1.0,
                "vista/clip_margin": -float(step) if has_clip else NAN,
                "vista/clip_accuracy": 0.5 if has_clip else NAN,
                "vista/token_margin": NAN,
                "vista/token_accuracy": NAN,
            }
        )
    history.append({"step": 7, "train_loss": 6.0, "train_runtime": 1.0})
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history, "global_step": 7, "max_steps": 7}))
    return folder


def test_means_of_first_and_last_steps(tmp_path: Path) -> None:
    """Response margins are 1..7: (1+2+3)/3 = 2 and (3+4+5+6+7)/5 = 5; accuracies 0 and (0+1+1+1+1)/5 = 0.8."""
    terms = {row.term: row for row in read_terms(write_run(tmp_path))}
    assert list(terms) == ["response", "video", "clip", "object", "token"]
    assert terms["response"] == TermRow("response", 2.0, 5.0, 0.0, 0.8)


def test_steps_without_the_term_do_not_count(tmp_path: Path) -> None:
    """Clip margins are -2, -4, -6 once NaN is left out: fewer than five, so both ends average all three."""
    terms = {row.term: row for row in read_terms(write_run(tmp_path))}
    assert terms["clip"] == TermRow("clip", -4.0, -4.0, 0.5, 0.5)
    assert terms["token"] == TermRow("token", None, None, None, None)
    assert terms["video"] == TermRow("video", None, None, None, None)


def test_loss(tmp_path: Path) -> None:
    """Losses are 9..3: 9 first, (7+6+5+4+3)/5 = 5 at the end; the closing summary has no step's loss."""
    assert read_loss(write_run(tmp_path)) == LossChange(9.0, 5.0)


def test_text_is_aligned(tmp_path: Path) -> None:
    write_run(tmp_path)
    lines = format_table(read_terms(tmp_path), read_loss(tmp_path)).splitlines()
    assert lines[1].split() == ["response", "+2.000", "+5.000", "0.00", "0.80"]
    assert lines[5].split() == ["token", "-", "-", "-", "-"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[6] == "loss: 9.000 at the first step, 5.000 at the end"


def test_only_existing_files_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert format_files(tmp_path).split() == ["log", str(tmp_path / "trainer_state.json")]
    for name in ("adapter_config.json", "trainer_log.jsonl", "training_loss.png"):
        (tmp_path / name).touch()
    assert [line.split() for line in format_files(tmp_path).splitlines()] == [
        ["adapter", str(tmp_path)],
        ["log", str(tmp_path / "trainer_log.jsonl")],
        ["log", str(tmp_path / "trainer_state.json")],
        ["plots", str(tmp_path / "training_loss.png")],
    ]


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no training run has finished"):
        read_terms(tmp_path)
