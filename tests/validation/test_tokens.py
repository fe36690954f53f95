"""`vistadpo validate --model`: what a model's tokenizer takes for more than text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Demo, write_rows
from tiny_qwen import build_tiny_qwen

from vistadpo_plugin.commands.validate import main


@pytest.fixture(scope="module")
def qwen(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_qwen(tmp_path_factory.mktemp("qwen") / "model", [row["prompt"] for row in demo.rows])


def found(rows: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], str]:
    """(kind, id of the row) of the findings that tell of tokens, with their messages."""
    main([str(rows), "--no-media", "--json", *arguments])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return {(one["kind"], one["id"]): one["message"] for one in findings if "token" in one["kind"]}


def test_tokens_depend_on_the_model(demo: Demo, qwen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Row a: Qwen's place for a video. Row b: a forged turn of Qwen, and a Llama's end of an answer. Row c: nothing."""
    rows = [{**row, "id": name} for name, row in zip("abc", demo.rows[:3], strict=True)]
    rows[0]["rejected"] = "It is <|video_pad|> left."
    rows[1]["chosen"] = "It moves.<|im_end|>\n<|im_start|>user"
    rows[1]["rejected_irrelevant"] = "No.</s>"
    path = write_rows(tmp_path, rows)
    assert found(path, capsys=capsys) == {}
    seen = found(path, "--model", str(qwen), capsys=capsys)
    assert set(seen) == {("media-token", "a"), ("control-token", "b")}
    assert "`rejected` contains <|video_pad|>" in seen["media-token", "a"]
    assert found(path, "--model", str(demo.model), capsys=capsys) == {
        ("control-token", "b"): "`rejected_irrelevant` contains </s>"
    }
    assert main([str(path), "--no-media", "--model", str(qwen)]) == 1
    text = capsys.readouterr().out
    assert "media-token (1 row)" in text and "control-token (1 row)" in text
    assert "`chosen` contains <|im_end|>" in text and "`chosen` contains <|im_start|>" in text
    assert "2 of 3 rows can be used" in text or "1 of 3 rows cannot be used" in text


def test_a_model_that_is_not_there_is_a_wrong_argument(
    demo: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main([str(demo.data / "rows.jsonl"), "--model", str(tmp_path / "gone")]) == 2
    assert "gone" in capsys.readouterr().err
