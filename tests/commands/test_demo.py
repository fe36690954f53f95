"""`vistadpo demo`: a small run of what ships, its figures, its page, and what it says when something is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import run_recipe

from vistadpo_plugin.commands import demo
from vistadpo_plugin.demo.base_build import base_folder
from vistadpo_plugin.demo.result import Result, format_table
from vistadpo_plugin.demo.splits import TEST, split_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built and trained by the recipe that ships, on fewer videos and for fewer steps."""
    folder = tmp_path_factory.mktemp("demo") / "with space"
    demo.build(folder, videos=100, held_out=24, seed=7)
    recipe = yaml.safe_load((folder / demo.RECIPE).read_text())
    run_recipe({**recipe, "num_train_epochs": 2})
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return demo.evaluate(folder, split_in(folder, TEST), folder / "tuned")


def test_the_base_hallucinates_and_training_mends_it(result: Result) -> None:
    """A small version of the demo: 50 steps instead of 200, 96 pairs instead of 400."""
    base, tuned = (
        {kind: by_model[model].mean for kind, by_model in result.figures.items()} for model in ("base", "tuned")
    )
    assert base["basic"] > 90 and base["overall"] < 45
    assert tuned["overall"] > 1.5 * base["overall"]
    for level in ("video", "clip", "object"):
        assert result.margins[level]["tuned"].mean > result.margins[level]["base"].mean


def test_figures_are_the_benchmarks_own(folder: Path, result: Result) -> None:
    """`vistadpo evaluate` counts the same: its totals are unweighted means of subsets, which are of one size here."""
    report = json.loads((folder / demo.EVALUATION / "report.json").read_text())
    for model, made in report["benchmarks"]["shapes"]["models"].items():
        for kind in ("basic", "hallucination", "overall"):
            assert result.figures[kind][model].mean == pytest.approx(made["figures"][f"total/{kind}"]["value"])
            assert (
                result.figures[kind][model].low <= result.figures[kind][model].mean <= result.figures[kind][model].high
            )


def test_margins_are_the_probes_own(folder: Path, result: Result) -> None:
    levels = json.loads((folder / demo.PROBE / "probe.json").read_text())["levels"]
    for level in ("video", "clip", "object"):
        for model in ("base", "tuned"):
            assert result.margins[level][model].mean == pytest.approx(levels[level][model]["mean"])


def test_page_holds_all_and_fetches_nothing(folder: Path, result: Result) -> None:
    page = (folder / "demo.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<article>") == 10 and page.count('src="data:image/jpeg') == 80
    for example in result.examples:
        assert example.question in page
    verdicts = [example.right[model] for example in result.examples for model in ("base", "tuned")]
    assert page.count("✓ right") == sum(verdicts) and page.count("✗ wrong") == 20 - sum(verdicts)
    assert (folder / "demo.png").stat().st_size > 10_000


def test_table_names_every_figure(result: Result) -> None:
    table = format_table(result)
    assert "on 24 held-out videos" in table
    for name in ("what is there", "what is not", "both right", "video", "clip", "object"):
        assert name in table


def test_a_build_is_reused_only_when_it_is_the_same(folder: Path, capsys: pytest.CaptureFixture) -> None:
    before = (folder / demo.MARKER).stat().st_mtime_ns
    demo.build(folder, videos=100, held_out=24, seed=7)
    assert "reused" in capsys.readouterr().out and (folder / demo.MARKER).stat().st_mtime_ns == before


def test_the_shipped_base_is_small_and_has_its_card() -> None:
    weights = list(base_folder().glob("*.safetensors"))
    assert len(weights) == 1 and weights[0].stat().st_size < 4_000_000
    card = (base_folder() / "README.md").read_text()
    assert "vistadpo demo --rebuild-base" in card and "hallucinates" in card


def test_a_recipe_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model_name_or_path: elsewhere\noutput_dir: out\n")
    assert demo.main(["--folder", str(tmp_path / "demo"), "--recipe", str(recipe)]) == 2
    assert "mine.yaml trains elsewhere, but the demo's model is" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert demo.main(["--folder", str(tmp_path), "--recipe", str(tmp_path / "absent.yaml")]) == 2
    assert "no recipe at" in capsys.readouterr().err
