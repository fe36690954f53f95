"""Evaluation recipes: what is read, and what is refused with a sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from eventhallusion_made import write_recipe

from vistadpo_plugin.evaluation.recipe import HOST_KEYS, RecipeError, read_recipe


def test_shared_keys_go_to_every_model_and_its_own_win(tmp_path: Path) -> None:
    models = {"base": None, "tuned": {"adapter_name_or_path": "a", "video_maxlen": 16}, "full": {"template": "other"}}
    recipe = read_recipe(write_recipe(tmp_path, models=models))
    shared = {"model_name_or_path": "no/model", "template": "video_llava", "video_maxlen": 8}
    assert recipe.models == {
        "base": shared,
        "tuned": {**shared, "adapter_name_or_path": "a", "video_maxlen": 16},
        "full": {**shared, "template": "other"},
    }
    assert list(recipe.models) == ["base", "tuned", "full"]
    assert (recipe.batch_size, recipe.max_new_tokens, recipe.judge) == (None, 128, None)


def test_sets_of_general_ability(tmp_path: Path) -> None:
    assert read_recipe(write_recipe(tmp_path)).general == ()
    assert read_recipe(write_recipe(tmp_path, general=["eventhallusion"])).general == ("eventhallusion",)


def test_null_takes_a_shared_key_away(tmp_path: Path) -> None:
    models = {"base": {"adapter_name_or_path": None}, "tuned": {}}
    recipe = read_recipe(write_recipe(tmp_path, models=models, adapter_name_or_path="a"))
    assert "adapter_name_or_path" not in recipe.models["base"]
    assert recipe.models["tuned"]["adapter_name_or_path"] == "a"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"video_maxlne": 8}, "unknown key `video_maxlne`. Did you mean `video_maxlen`?"),
        ({"models": {"base": {"tmplate": "x"}}}, "`models: base`: `tmplate`. Did you mean `template`?"),
        ({"benchmarks": {"eventhalusion": {}}}, "unknown benchmark `eventhalusion`. Did you mean `eventhallusion`?"),
        ({"benchmarks": {"mvbench": {"anotations": "a"}}}, "Did you mean `annotations`?"),
        ({"benchmarks": {"mvbench": {"annotations": "a"}}}, "`benchmarks: mvbench`: `videos` is missing"),
        ({"benchmarks": {}}, "`benchmarks` is empty"),
        ({"general": ["mvbench"]}, "benchmark in `general`: `mvbench`. Did you mean `eventhallusion`?"),
        ({"general": "eventhallusion"}, "`general` is 'eventhallusion'; a list of names under `benchmarks`"),
        ({"models": {}}, "`models` is empty"),
        ({"models": None}, "`models`: names and values are expected"),
        ({"models": {"a/b": {}}}, "'a/b' becomes a folder"),
        ({"models": {"..": {}}}, "'..' becomes a folder"),
        ({"video_maxlen": None}, "`models: base` has no `video_maxlen`"),
        ({"video_maxlen": "8"}, "`video_maxlen` is '8'; allowed: a whole number, 1 or larger."),
        ({"template": 7}, "`template` is 7; a text is expected"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"max_new_tokens": True}, "`max_new_tokens` is True"),
        ({"output_dir": None}, "`output_dir` is missing"),
        ({"judge": {"modle": "x"}}, "Did you mean `model`?"),
        ({"judge": {"base_url": "x"}}, "`judge` needs a `model`"),
    ],
)
def test_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(write_recipe(tmp_path, **changes))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("content", ["", "- a\n", "a: [", "7: x\n"])
def test_no_recipe_at_all(content: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(RecipeError, match="the recipe"):
        read_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match="cannot read the recipe: .*absent.yaml"):
        read_recipe(tmp_path / "absent.yaml")


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    """PyYAML keeps the last: a model would be missing from the tables, and nothing would say so."""
    text = "models:\n  base: {template: a}\n  tuned: {template: a}\n  base: {template: b}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match="cannot read the recipe: `base` is given twice"):
        read_recipe(tmp_path / "recipe.yaml")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("[" * 5000)
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe(tmp_path / "recipe.yaml")


def test_the_keys_are_the_hosts() -> None:
    from llamafactory.hparams import parser

    known = {field.name for arguments in parser._INFER_ARGS for field in dataclasses.fields(arguments)}
    assert set(HOST_KEYS) - known == set()
