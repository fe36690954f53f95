"""What an ablation's recipe may say, the runs that it stands for, and what it is refused for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ablation.made import recipe_keys, write_recipe
from conftest import Demo

from vistadpo_plugin.ablation.plan import Run, asked_with, make_runs, probed_with
from vistadpo_plugin.ablation.recipe import Ablation, read_recipe
from vistadpo_plugin.evaluation.recipe import RecipeError


@pytest.fixture
def read(demo: Demo, tmp_path: Path) -> Any:
    def reading(shorter: bool = False, **changes: Any) -> Ablation:
        return read_recipe(write_recipe(tmp_path, recipe_keys(demo, tmp_path, **changes)), shorter)

    return reading


def runs_by_name(ablation: Ablation, **times: float) -> dict[str, Run]:
    return {run.name: run for run in make_runs(ablation, {("model", rung): n for rung, n in times.items()})}


def test_every_run_is_a_recipe_of_the_host(read: Any, demo: Demo, tmp_path: Path) -> None:
    runs = runs_by_name(read())
    assert set(runs) == {f"model.{rung}.seed_{seed}" for rung in ("sft", "dpo", "full") for seed in (0, 1)}
    full = runs["model.full.seed_1"]
    written = yaml.safe_load(full.write_recipe({"overwrite_output_dir": True}).read_text())
    assert written["seed"] == 1
    assert written["model_name_or_path"] == str(demo.model)
    assert written["output_dir"] == str(tmp_path / "out/runs/model/full/seed_1/model")
    assert (written["stage"], written["do_train"], written["overwrite_output_dir"]) == ("vistadpo", True, True)
    from llamafactory.hparams import get_train_args

    get_train_args(dict(written))
    sft = runs["model.sft.seed_0"].keys
    assert sft["stage"] == "sft" and not [key for key in sft if key.startswith("vista")]


def test_one_reference_cache_a_base(read: Any) -> None:
    """Rungs and seeds share it; what the reference itself depends on has another folder."""
    bases = {"one": None, "two": {"model_name_or_path": "elsewhere"}}
    own = {"full": None, "slow": {"learning_rate": 1e-5, "lora_rank": 2}, "longer": {"video_maxlen": 4}}
    found: dict[str, set[str]] = {}
    for run in make_runs(read(bases=bases, rungs=own), {}):
        found.setdefault(Path(run.keys["vista_reference_cache"]).name, set()).add(f"{run.base}.{run.rung.name}")
    assert found == {
        "one": {"one.full", "one.slow"}, "one.video_maxlen_4": {"one.longer"},
        "two": {"two.full", "two.slow"}, "two.video_maxlen_4": {"two.longer"},
    }  # fmt: skip


def test_the_rung_that_asks_the_reference_for_most_comes_first(read: Any) -> None:
    names = [run.name for run in make_runs(read(rungs="table3"), {}) if run.seed == 0]
    assert names[0] == "model.full.seed_0" and names[-1] == "model.dpo.seed_0"


def test_same_compute_takes_more_steps(read: Any) -> None:
    runs = runs_by_name(read(rungs=["dpo", "dpo_same_compute", "full"]), dpo_same_compute=2.6)
    assert runs["model.dpo_same_compute.seed_0"].keys["max_steps"] == 8  # 3 x 2.6 = 7.8
    assert runs["model.dpo.seed_0"].keys["max_steps"] == 3


def test_a_tuned_model_is_asked_with_its_adapter_or_its_weights(read: Any) -> None:
    ablation = read(rungs={"lora": None, "whole": {"finetuning_type": "full", "vista_video_negative": "noise"}})
    runs = runs_by_name(ablation)
    lora, whole = runs["model.lora.seed_0"], runs["model.whole.seed_0"]
    assert asked_with(ablation, "model", lora)["adapter_name_or_path"] == str(lora.model)
    assert asked_with(ablation, "model", whole)["model_name_or_path"] == str(whole.model)
    assert "adapter_name_or_path" not in asked_with(ablation, "model", whole)
    assert "adapter_name_or_path" not in asked_with(ablation, "model", None)
    # Every rung is judged by the same views, whatever it was trained on.
    assert "vista_video_negative" not in probed_with(ablation, "model", whole)


def test_choices_are_all_combinations(read: Any) -> None:
    choose = {"learning_rate": [1e-4, 3e-4], "pref_beta": [0.1, 0.5]}
    ablation = read(choose=choose, dev=recipe_dev(read))
    assert ablation.choices == tuple({"learning_rate": r, "pref_beta": b} for r in (1e-4, 3e-4) for b in (0.1, 0.5))
    runs = make_runs(ablation, {})
    assert len(runs) == 3 * 2 * 4
    assert runs[-1].name == "model.sft.choice_3.seed_1"


def recipe_dev(read: Any) -> dict[str, Any]:
    folders = read().test.benchmarks["eventhallusion"]
    return {"benchmarks": {"eventhallusion": {"annotations": str(folders.annotations), "videos": str(folders.videos)}}}


def test_quick_goes_over_the_rest(read: Any, tmp_path: Path) -> None:
    quick = {"training": {"max_steps": 1}, "seeds": [7], "rungs": ["full"]}
    ablation = read(True, quick=quick)
    assert (ablation.training["max_steps"], ablation.training["learning_rate"]) == (1, 0.02)
    assert (ablation.seeds, ablation.output_dir) == ((7,), tmp_path / "out_quick")
    assert ablation.ladder.compared == (("full", "base"),)
    assert read(False, quick=quick).seeds == (0, 1)
    with pytest.raises(RecipeError, match="no `quick:`"):
        read(True)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"seed": [0]}, "unknown key `seed`. Did you mean `seeds`"),
    "seeds": ({"seeds": [0, 0]}, "`seeds` is"),
    "ladder": ({"rungs": "table2"}, "Did you mean `table3`"),
    "rung": ({"rungs": ["dpo", "vidoe"]}, "Did you mean `video`"),
    "base": ({"rungs": {"base": {}}}, "take another name"),
    "folder": ({"rungs": {"a/b": {}}}, "becomes a folder"),
    "vista key": ({"rungs": {"a": {"vista_clip_wieght": 0}}}, "Did you mean `vista_clip_weight`"),
    "stage": ({"rungs": {"a": {"stage": "kto"}}}, "stage vistadpo or sft"),
    "own key": ({"rungs": {"a": {"seed": 3}}}, "set for every run"),
    "compute": ({"rungs": {"a": {"same_compute_as": "b"}}}, "Did you mean `a`"),
    "compare": ({"compare": [["full", "dop"]]}, "Did you mean `dpo`"),
    "choose": ({"choose": {"learning_rate": [1, 2]}}, "nothing is chosen on test data"),
    "judge": ({"test": {"benchmarks": {"msvd_qa": {"annotations": "a", "videos": "v"}}}}, "judged"),
    "nothing": ({"test": {}}, "nothing to judge runs by"),
    "primary": ({"primary": "mvbench/average"}, "has no mvbench"),
    "training": ({"training": {"template": "video_llava", "video_maxlen": 8}}, "no `model_name_or_path`"),
    "variant": ({"demo": {"folder": "world", "train": 4, "variants": ["hold"]}}, "Did you mean `holds`"),
    "kind": ({"demo": {"folder": "world", "train": 4, "kinds": ["presence", "atribute"]}}, "Did you mean `attribute`"),
    "kinds": (
        {"demo": {"folder": "world", "train": 4, "kinds": "presence"}},
        "list of names is expected, of what",
    ),
    "one kind": ({"demo": {"folder": "world", "train": 4, "kinds": ["presence", "presence"]}}, "at least two"),
    "open kinds": ({"demo": {"folder": "world", "train": 4, "kinds": ["what", "which"]}}, "questions for yes or no"),
    "output": ({"output_dir": None}, "`output_dir` is missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_recipes(name: str, read: Any) -> None:
    changes, message = WRONG[name]
    with pytest.raises(RecipeError) as error:
        read(**changes)
    assert message in str(error.value)
