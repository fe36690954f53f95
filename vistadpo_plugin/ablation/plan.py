"""The runs of an ablation: each an ordinary recipe of the host in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vistadpo_plugin.ablation.ladder import BASE, Rung
from vistadpo_plugin.ablation.recipe import Ablation
from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.evaluation.recipe import HOST_KEYS

RUNS, REFERENCE, SFT_ROWS = "runs", "reference", "sft_rows"
RECIPE, MODEL = "recipe.yaml", "model"

_OF_THE_REFERENCE = (
    "template", "default_system", "ref_model", "bf16", "fp16", "pure_bf16", "quantization_bit", "infer_dtype",
    "video_maxlen", "video_fps", "video_max_pixels", "video_min_pixels",
)  # fmt: skip
"""Keys on which all of the reference's numbers depend. Runs that differ in one cannot share a cache; whatever else
differs between views or answers, the cache itself knows."""

_PROBED = (
    "cutoff_len", "bf16", "fp16", "use_cpu", "per_device_eval_batch_size", "dataloader_num_workers",
    "vista_video_negative", "vista_mates", "vista_clip_negative", "vista_object_negative", "vista_mask_fill",
    "vista_clip_frames", "vista_temporal_magnitude", "vista_heed_holds", "vista_prefix_sharing", "vista_on_bad_row",
)  # fmt: skip
"""Keys of training that the probe takes too, beside those of the model. Not a rung's: all rungs see the same views."""


@dataclass(frozen=True)
class Run:
    """One training: a rung on a base under a seed, with one of the `choices`; `keys` are the recipe's."""

    base: str
    rung: Rung
    choice: int
    seed: int
    folder: Path
    keys: dict[str, Any]

    @property
    def name(self) -> str:
        """As a folder of replies is named, and a line of the report."""
        several = self.folder.parent.name.startswith("choice_")
        return ".".join(self.folder.parts[-4 if several else -3 :])

    @property
    def model(self) -> Path:
        return self.folder / MODEL

    def write_recipe(self, more: Mapping[str, Any]) -> Path:
        """The recipe with `more` keys, in the run's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / RECIPE
        head = f"# {self.name}, of an ablation.\n#\n#   command:   llamafactory-cli train {path}\n\n"
        path.write_text(head + yaml.safe_dump({**self.keys, **more}, sort_keys=False), encoding="utf-8")
        return path


def make_runs(ablation: Ablation, more_steps: Mapping[tuple[str, str], float]) -> list[Run]:
    """All runs, those first that ask the reference for most: what they leave in the cache serves the others.

    `more_steps`: by (base, rung) how many times the steps of the recipe a rung with `same_compute_as` takes.
    """
    several = len(ablation.choices) > 1
    runs = []
    for base, of_base in ablation.bases.items():
        for seed in ablation.seeds:
            for rung in ablation.ladder.rungs:
                for number, choice in enumerate(ablation.choices):
                    folder = ablation.output_dir / RUNS / base / rung.name
                    folder = (folder / f"choice_{number}" if several else folder) / f"seed_{seed}"
                    keys = {**ablation.training, **of_base, **rung.keys, **choice}
                    if rung.same_compute_as is not None:
                        keys |= _longer(keys, more_steps[base, rung.name])
                    keys = _complete(ablation, base, keys, seed, folder)
                    runs.append(Run(base, rung, number, seed, folder, keys))
    names = list(ablation.bases)
    # Python's sort is stable: rungs that ask alike keep their order.
    return sorted(runs, key=lambda run: (names.index(run.base), ablation.seeds.index(run.seed), -_asked(run.keys)))


def _asked(keys: Mapping[str, Any]) -> int:
    """How many kinds of things a run asks the reference: terms, and the irrelevant answer."""
    if keys["stage"] == "sft":
        return 0
    vista = VistaArguments(**{name: value for name, value in keys.items() if name.startswith("vista_")})
    return len(vista.terms) + (vista.vista_irrelevant_weight > 0)


def _longer(keys: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The key that says how long a run is, times `factor`; the host's default is 3 epochs."""
    if keys.get("max_steps", -1) > 0:
        return {"max_steps": max(1, round(keys["max_steps"] * factor))}
    return {"num_train_epochs": round(keys.get("num_train_epochs", 3.0) * factor, 4)}


def _complete(ablation: Ablation, base: str, keys: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """With what an ablation sets in every run."""
    own = {"stage": keys.get("stage", "vistadpo"), "do_train": True, "seed": seed, "output_dir": str(folder / MODEL)}
    if own["stage"] == "sft":
        keys = {
            name: value for name, value in keys.items() if not name.startswith(("vista_", "pref_", "dpo_", "ld_alpha"))
        }
        keys = {name: value for name, value in keys.items() if name != "media_dir"}
        rows = ablation.output_dir / SFT_ROWS
        return {
            **keys,
            **own,
            "dataset": ",".join(dataset_names(keys)),
            "dataset_dir": str(rows),
            "media_dir": str(rows),
        }
    return {**keys, **own, "vista_reference_cache": str(_reference_folder(ablation, base, keys))}


def dataset_names(keys: Mapping[str, Any]) -> list[str]:
    """The names of the data sets that a run trains on."""
    given = keys.get("dataset", "")
    return [name.strip() for name in (given if isinstance(given, list) else given.split(","))]


def _reference_folder(ablation: Ablation, base: str, keys: Mapping[str, Any]) -> Path:
    """One folder a base, and another for runs whose reference would say something else."""
    usual = {**ablation.training, **ablation.bases[base]}
    changed = [
        f"{key}_{str(keys.get(key)).replace('/', '_')}" for key in _OF_THE_REFERENCE if keys.get(key) != usual.get(key)
    ]
    return ablation.output_dir / REFERENCE / ".".join([base, *changed])


def asked_with(ablation: Ablation, base: str, run: Run | None) -> dict[str, Any]:
    """The host's inference keys of a run's model, or of the base itself."""
    given = ablation.training | ablation.bases[base] if run is None else run.keys
    keys = {key: given[key] for key in HOST_KEYS if key in given and key != "finetuning_type"}
    keys |= {key: value for key, value in ablation.evaluation.items() if key in HOST_KEYS}
    if run is None:
        return keys
    if given.get("finetuning_type", "lora") in ("lora", "oft"):
        tuned = {"adapter_name_or_path": str(run.model), "finetuning_type": given.get("finetuning_type", "lora")}
        return {**keys, **tuned}
    return {**keys, "model_name_or_path": str(run.model)}


def probed_with(ablation: Ablation, base: str, run: Run | None) -> dict[str, Any]:
    """The keys with which the probe loads a run's model, or the base itself, and makes its views."""
    usual = {**ablation.training, **ablation.bases[base]}
    return {key: usual[key] for key in _PROBED if key in usual} | asked_with(ablation, base, run)


def models_of(ablation: Ablation, runs: list[Run]) -> Iterator[tuple[str, str, Run | None]]:
    """(name, base, run) of everything that is evaluated: every base itself (run None), then the runs."""
    for base in ablation.bases:
        yield f"{base}.{BASE}", base, None
    for run in runs:
        yield run.name, run.base, run
