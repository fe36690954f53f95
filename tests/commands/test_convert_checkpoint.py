"""`vistadpo convert llava-hound|pllava`: how it is reached and what it says. What it does is in tests/checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from vistadpo_plugin.commands.main import main


@pytest.mark.parametrize("kind", ["llava-hound", "pllava"])
def test_help_says_that_the_layout_is_inferred(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["convert", kind, "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"usage: vistadpo convert {kind}" in said
    assert "The layout is inferred from the authors' code: real files were not at hand" in said


def test_the_choice_of_alpha_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "pllava", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "train with 32, and run demo and benchmarks with 4; the default is 4" in said


def test_help_of_rows_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--to {native,released,sharegpt}" in said
    assert "`vistadpo convert llava-hound --help`, `vistadpo convert pllava --help`" in said


def test_what_is_there_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert main(["convert", "pllava", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert f"vistadpo convert pllava: {tmp_path / 'out'} is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("llava-hound", "pllava"):
        assert main(["convert", kind, str(tmp_path / "no"), "-o", str(tmp_path / "out")]) == 2
        assert "config.json" in capsys.readouterr().err


def test_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert main(["convert", "pllava", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "config.json lacks vision_config and text_config; it is not PLLaVA's" in capsys.readouterr().err
    assert main(["convert", "llava-hound", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "config.json lacks hidden_size, " in capsys.readouterr().err
