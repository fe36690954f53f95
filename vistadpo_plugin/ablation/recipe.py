"""The recipe of an ablation, read without the host: which rungs, seeds and bases, and what they are judged by."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vistadpo_plugin.ablation.ladder import BASE, LADDERS, Ladder, Rung, neighbours, some_of
from vistadpo_plugin.arguments import check_vista_names
from vistadpo_plugin.demo.splits import VARIANTS
from vistadpo_plugin.demo.world import KINDS, SUBSETS
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.recipe import (
    HOST_KEYS,
    Folders,
    RecipeError,
    check_names,
    read_count,
    read_folders,
    read_mapping,
)

KEYS = (
    "training", "bases", "rungs", "compare", "seeds", "choose", "dev", "test", "primary", "evaluation", "bootstrap",
    "output_dir", "quick", "demo",
)  # fmt: skip
_SET_HERE = (
    "output_dir", "overwrite_output_dir", "resume_from_checkpoint", "seed", "data_seed", "vista_reference_cache",
    "do_train", "do_eval", "adapter_name_or_path",
)  # fmt: skip
_PROBE_KEYS = ("data", "media_dir", "max_samples", "seed")
_EVALUATION_KEYS = ("batch_size", "max_new_tokens", "infer_dtype")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
ONE_BASE = "model"
_SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Probe:
    """Grounded rows on which margins are taken, see `evaluation.probe`; `keys` go to it."""

    data: Path
    keys: dict[str, Any]


@dataclass(frozen=True)
class Split:
    """What judges models: benchmarks by name, and rows to be probed."""

    benchmarks: dict[str, Folders]
    probe: Probe | None


@dataclass(frozen=True)
class Demo:
    """The demo's own data, made where it is not there: a `folder`, and how many `videos` each split has.

    `variants` of the training rows lie beside them, as the data sets train_VARIANT. `kinds`: what rows and questions
    are about.
    """

    folder: Path
    videos: dict[str, int]
    variants: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Ablation:
    """`training`: keys of every run; `bases`: keys of each base by its name; `choices`: the settings among which each
    rung's is chosen on `dev`, one empty one where nothing is chosen; `primary`: benchmark/figure, or probe/level, that
    chooses and comes first in the report."""

    training: dict[str, Any]
    bases: dict[str, dict[str, Any]]
    ladder: Ladder
    seeds: tuple[int, ...]
    choices: tuple[dict[str, Any], ...]
    dev: Split | None
    test: Split
    primary: str
    evaluation: dict[str, Any]
    bootstrap: int
    output_dir: Path
    demo: Demo | None

    def rung(self, name: str) -> Rung:
        return next(rung for rung in self.ladder.rungs if rung.name == name)


def read_recipe(path: Path, quick: bool = False, demo_base: Callable[[], Path] | None = None) -> Ablation:
    """An ablation's recipe; `quick` puts its `quick:` part over the rest. Raises RecipeError naming the key.

    `demo_base` gives the demo's base: the model of a recipe that has `demo:` and names none.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"cannot read the recipe: {error}") from None
    recipe = read_mapping(content, "the recipe")
    check_names(recipe, KEYS, "key")
    shorter = recipe.pop("quick", None)
    if quick:
        if shorter is None:
            raise RecipeError("it has no `quick:`, the keys that make it shorter, so there is no --quick of it.")
        check_names(
            read_mapping(shorter, "`quick`"), [key for key in KEYS if key not in ("quick", "output_dir")], "key"
        )
        recipe = _over(recipe, shorter)
    if not isinstance(recipe.get("output_dir"), str):
        raise RecipeError("`output_dir` is missing: name the folder for runs, replies and the report.")
    training = _training(recipe.get("training"), "`training`")
    demo = _demo(recipe.get("demo"))
    if demo is not None and demo_base is not None and "model_name_or_path" not in training:
        training["model_name_or_path"] = str(demo_base())
    bases = _bases(recipe.get("bases"), training)
    dev = None if recipe.get("dev") is None else _split(recipe["dev"], "dev")
    test = _split(recipe.get("test"), "test")
    choices = _choices(recipe.get("choose"))
    if len(choices) > 1 and dev is None:
        raise RecipeError("`choose` needs `dev`, data to choose on: nothing is chosen on test data.")
    ladder = _ladder(recipe.get("rungs", "ladder"), recipe.get("compare"))
    return Ablation(
        training=training,
        bases=bases,
        ladder=ladder,
        seeds=_seeds(recipe.get("seeds")),
        choices=choices,
        dev=dev,
        test=test,
        primary=_primary(recipe.get("primary"), dev, test, len(choices) > 1),
        evaluation=_evaluation(recipe.get("evaluation", {})),
        bootstrap=read_count(recipe, "bootstrap", 2000),
        output_dir=Path(recipe["output_dir"] + ("_quick" if quick else "")),
        demo=demo,
    )


def _over(recipe: Mapping[str, Any], shorter: Mapping[str, Any]) -> dict[str, Any]:
    """`shorter` over `recipe`: `training` and `evaluation` key by key, anything else as a whole."""
    merged = {**recipe, **shorter}
    for name in ("training", "evaluation"):
        if name in shorter:
            merged[name] = {**recipe.get(name, {}), **read_mapping(shorter[name], f"`quick: {name}`")}
    return merged


def _demo(given: Any) -> Demo | None:
    if given is None:
        return None
    keys = read_mapping(given, "`demo`")
    check_names(keys, ("folder", "variants", "kinds", *_SPLITS), "key in `demo`:")
    if not isinstance(keys.get("folder"), str) or "train" not in keys:
        raise RecipeError("`demo` needs a `folder`, and how many videos `train` has; `dev` and `test` are optional.")
    variants, kinds = _names(keys, "variants", VARIANTS, ()), _names(keys, "kinds", KINDS, KINDS)
    if len(kinds) < 2 or not set(kinds) & set(SUBSETS):
        raise RecipeError(
            f"`demo: kinds` is {list(kinds)}; every video has two rows, of two kinds, and questions for yes or no: "
            f"name at least two, one of {', '.join(SUBSETS)} among them."
        )
    videos = {split: read_count(keys, split, 1) for split in _SPLITS if split in keys}
    return Demo(Path(keys["folder"]), videos, variants, kinds)


def _names(keys: Mapping[str, Any], key: str, known: Iterable[str], default: tuple[str, ...]) -> tuple[str, ...]:
    """A list of some of `known`, each once."""
    named = keys.get(key, list(default))
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise RecipeError(f"`demo: {key}` is {named!r}; a list of names is expected, of {', '.join(known)}.")
    check_names(named, known, f"{key.removesuffix('s')} in `demo: {key}`:")
    return tuple(dict.fromkeys(named))


def _training(given: Any, where: str) -> dict[str, Any]:
    """Keys of a training run, as `llamafactory-cli train` takes them, without those that an ablation sets itself."""
    keys = read_mapping(given, where)
    for key in keys:
        if key in _SET_HERE:
            what = "merge the adapter into its base first" if key == "adapter_name_or_path" else "leave it out"
            raise RecipeError(f"{where}: `{key}` is set for every run by `vistadpo ablate`; {what}.")
    try:
        check_vista_names(keys)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None
    return dict(keys)


def _bases(given: Any, training: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    bases = {ONE_BASE: {}} if given is None else read_mapping(given, "`bases`")
    found = {}
    for name, keys in bases.items():
        _check_folder_name(name, "bases")
        found[name] = _training(keys or {}, f"`bases: {name}`")
        for key in ("model_name_or_path", "template", "video_maxlen"):
            if key not in {**training, **found[name]}:
                place = "`training`" if given is None else f"`training` or `bases: {name}`"
                raise RecipeError(f"{place} has no `{key}`; give it as in a training recipe.")
    if not found:
        raise RecipeError("`bases` is empty: there is nothing to train.")
    return found


def _check_folder_name(name: str, key: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecipeError(f"`{key}`: {name!r} becomes a folder; use letters, digits, dash and underscore.")


def _ladder(given: Any, compare: Any) -> Ladder:
    """A ladder by its name, some rungs of the default one by theirs, or rungs of the user's own."""
    if isinstance(given, str):
        check_names([given], LADDERS, "ladder")
        ladder = LADDERS[given]
    elif isinstance(given, list):
        default = LADDERS["ladder"]
        check_names(given, [rung.name for rung in default.rungs], "rung of the ladder")
        ladder = some_of(default, given)
    else:
        rungs = [_own_rung(name, keys) for name, keys in read_mapping(given, "`rungs`").items()]
        ladder = Ladder(tuple(rungs), tuple(neighbours([rung.name for rung in rungs])))
    names = [rung.name for rung in ladder.rungs]
    if not names:
        raise RecipeError("`rungs` is empty: there is nothing to train.")
    for rung in ladder.rungs:
        if rung.same_compute_as is not None:
            check_names([rung.same_compute_as], names, f"rung in `rungs: {rung.name}: same_compute_as`:")
    if compare is None:
        return ladder
    if not isinstance(compare, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in compare):
        raise RecipeError("`compare`: a list of [rung, the rung that it is held against] is expected.")
    check_names((name for pair in compare for name in pair), [BASE, *names], "rung in `compare`:")
    return Ladder(ladder.rungs, tuple((later, earlier) for later, earlier in compare))


def _own_rung(name: str, given: Any) -> Rung:
    where = f"`rungs: {name}`"
    _check_folder_name(name, "rungs")
    if name == BASE:
        raise RecipeError(f"{where}: the untrained base is a rung of this name in every ladder; take another name.")
    keys = read_mapping(given or {}, where)
    same = keys.get("same_compute_as")
    keys = _training({key: value for key, value in keys.items() if key != "same_compute_as"}, where)
    if keys.get("stage", "vistadpo") not in ("vistadpo", "sft"):
        raise RecipeError(f"{where}: `stage: {keys['stage']}`; a rung is of stage vistadpo or sft.")
    if same is not None and keys.get("stage") == "sft":
        raise RecipeError(f"{where}: `same_compute_as` counts the work of `stage: vistadpo`; set `max_steps` instead.")
    return Rung(name, keys, same)


def _seeds(given: Any) -> tuple[int, ...]:
    whole = isinstance(given, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in given)
    if not whole or not given or len(set(given)) < len(given):
        raise RecipeError(f"`seeds` is {given!r}; a list of distinct whole numbers is expected, e.g. [0, 1, 2, 3, 4].")
    return tuple(given)


def _choices(given: Any) -> tuple[dict[str, Any], ...]:
    """Every combination of the values of `choose`."""
    if given is None:
        return ({},)
    keys = _training(given, "`choose`")
    for key, values in keys.items():
        if not isinstance(values, list) or not values:
            raise RecipeError(f"`choose: {key}`: a list of values is expected, of which one is chosen on `dev`.")
    return tuple(dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values()))


def _split(given: Any, name: str) -> Split:
    split = read_mapping({} if given is None else given, f"`{name}`")
    check_names(split, ("benchmarks", "probe"), f"key in `{name}`:")
    benchmarks = read_mapping(split.get("benchmarks") or {}, f"`{name}: benchmarks`")
    check_names(benchmarks, BENCHMARKS, f"benchmark in `{name}`:")
    for benchmark in benchmarks:
        if BENCHMARKS[benchmark].needs_judge:
            raise RecipeError(
                f"`{name}: benchmarks: {benchmark}` is judged by a language model, which an ablation does not ask; "
                "evaluate the finished runs with `vistadpo evaluate`."
            )
    if not benchmarks and split.get("probe") is None:
        raise RecipeError(f"`{name}` has neither `benchmarks` nor `probe`: there is nothing to judge runs by.")
    folders = {
        benchmark: read_folders(f"`{name}: benchmarks: {benchmark}`", both) for benchmark, both in benchmarks.items()
    }
    return Split(folders, _probe(split.get("probe"), f"`{name}: probe`"))


def _probe(given: Any, where: str) -> Probe | None:
    if given is None:
        return None
    keys = read_mapping(given, where)
    check_names(keys, _PROBE_KEYS, f"key in {where}:")
    if not isinstance(keys.get("data"), str):
        raise RecipeError(f"{where}: `data` is missing; name a file of grounded rows.")
    return Probe(Path(keys["data"]), {"seed": 0, **{key: value for key, value in keys.items() if key != "data"}})


def _primary(given: Any, dev: Split | None, test: Split, chooses: bool) -> str:
    """benchmark/figure or probe/level; by default the first benchmark's rank, which is checked when it is scored."""
    if given is None:
        given = f"{next(iter(test.benchmarks))}/rank" if test.benchmarks else "probe/video"
    if not isinstance(given, str) or "/" not in given:
        raise RecipeError(f"`primary` is {given!r}; BENCHMARK/FIGURE or probe/LEVEL is expected.")
    source = given.split("/")[0]
    for name, split in (("test", test), *((("dev", dev),) if chooses else ())):
        if source not in split.benchmarks and not (source == "probe" and split.probe is not None):
            raise RecipeError(f"`primary: {given}`: `{name}` has no {source}.")
    return given


def _evaluation(given: Any) -> dict[str, Any]:
    keys = read_mapping(given, "`evaluation`")
    check_names(keys, (*_EVALUATION_KEYS, *HOST_KEYS), "key in `evaluation`:")
    return {
        **keys,
        "batch_size": read_count(keys, "batch_size", 1),
        "max_new_tokens": read_count(keys, "max_new_tokens", 128),
    }
