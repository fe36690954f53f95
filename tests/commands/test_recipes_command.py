"""`vistadpo recipes`: the list and a copy that can be run where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from vistadpo_plugin.commands.recipes import main, shipped


def test_every_recipe_is_listed_with_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    for recipe in shipped().glob("*.yaml"):
        assert f"\n{recipe.stem}\n" in f"\n{printed}"
    assert "  hardware:  1 GPU with 80 GB" in printed
    assert "  VistaDPO on Video-LLaVA 7B with LoRA: the paper's hyper-parameters, one GPU.\n" in printed


def test_a_copy_names_its_new_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command and list of data sets; all else is the recipe that ships."""
    monkeypatch.chdir(tmp_path)
    assert main(["copy", "vistadpo_videollava", "-o", "mine/first"]) == 0
    copy = tmp_path / "mine/first/vistadpo_videollava.yaml"
    assert "llamafactory-cli train mine/first/vistadpo_videollava.yaml\n" in copy.read_text()
    own, changed = (yaml.safe_load(path.read_text()) for path in (shipped() / copy.name, copy))
    assert changed.pop("dataset_dir") == "mine/first" and own.pop("dataset_dir") == "recipes"
    assert changed == own
    info = json.loads((copy.parent / "dataset_info.json").read_text())
    assert info == {"vistadpo_7k": {"file_name": "../data/vistadpo_7k/rows.jsonl", "formatting": "vistadpo"}}


def test_by_default_a_copy_is_the_recipe_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')
    assert main(["copy", "vistadpo_demo"]) == 0
    copy = tmp_path / "recipes/vistadpo_demo.yaml"
    assert copy.read_text() == (shipped() / copy.name).read_text()
    assert set(json.loads((tmp_path / "recipes/dataset_info.json").read_text())) == {"other", "vistadpo_demo"}


def test_what_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "vistadpo_demo.yaml"
    target.write_text("mine")
    assert main(["copy", "vistadpo_demo", "-o", str(tmp_path)]) == 2
    assert f"{target} is there already" in capsys.readouterr().err
    assert target.read_text() == "mine" and not (tmp_path / "dataset_info.json").exists()
    assert main(["copy", "vistadpo_demo", "-o", str(tmp_path), "--overwrite"]) == 0
    assert "mine" not in target.read_text()[:4]


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "vistadpo_nothing", "-o", str(tmp_path)]) == 2
    assert "vistadpo_demo, " in capsys.readouterr().err and not list(tmp_path.iterdir())
