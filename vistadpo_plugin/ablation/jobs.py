"""What the worker does: train a recipe, ask a model a benchmark's questions, probe it, count a recipe's work.

Everything here imports the host, which takes long; so all jobs of an ablation share the process that did it.
"""

from __future__ import annotations

import functools
import gc
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vistadpo_plugin.evaluation.recipe import Folders, Recipe


@functools.cache
def warm() -> None:
    """Import what every job needs, and keep it from the collections of garbage, of which every job asks several."""
    import llamafactory.train.tuner  # noqa: F401

    import vistadpo_plugin.host  # noqa: F401  patches the host where the start-up hook is off

    gc.collect()
    gc.freeze()


def train(recipe: str) -> dict[str, Any]:
    """What `llamafactory-cli train RECIPE` does, here.

    Returns the steps, the figures of the first and the last training log, and `reference_answers`, how many answers
    the reference scored because its cache did not know them.
    """
    import yaml
    from llamafactory.train.tuner import run_exp

    from vistadpo_plugin.run_record.report import RUN_REPORT

    keys = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    run_exp(dict(keys))
    folder = Path(keys["output_dir"])
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    logs = [entry for entry in state["log_history"] if "loss" in entry]
    record = folder / RUN_REPORT  # of our stage only
    facts = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return {
        "reference_answers": facts.get("reference_answers") or 0,
        "steps": state["global_step"],
        "first": _finite(logs[0]) if logs else {},
        "last": _finite(logs[-1]) if logs else {},
    }


def _finite(log: dict[str, Any]) -> dict[str, Any]:
    """Without the figures of terms that no row had, which are logged as NaN."""
    return {name: value for name, value in log.items() if not isinstance(value, float) or math.isfinite(value)}


def ask(
    model: str,
    keys: dict[str, Any],
    benchmarks: dict[str, list[str]],
    output_dir: str,
    batch_size: int,
    max_new_tokens: int,
) -> None:
    """Replies of one model to benchmarks (name -> [annotations, videos]), those that are there already left alone."""
    from vistadpo_plugin.evaluation.ask import infer
    from vistadpo_plugin.evaluation.run import export

    folders = {name: Folders(Path(annotations), Path(videos)) for name, (annotations, videos) in benchmarks.items()}
    recipe = Recipe({model: keys}, folders, Path(output_dir), batch_size, max_new_tokens, judge=None)
    infer(recipe, export(recipe), allow_partial=False)


def probe(data: str, keys: dict[str, Any], output: str, decided: dict[str, Any]) -> None:
    """Margins of one model on the rows of `data`, into the file `output`; of an adapter's model, not of its base."""
    from vistadpo_plugin.data.rows.dataset_info import write_text
    from vistadpo_plugin.evaluation.probe.measure import run_probe
    from vistadpo_plugin.evaluation.probe.table import BASE, TUNED

    found = run_probe(data, {**keys, "output_dir": str(Path(output).with_suffix(""))})
    rows = []
    for row in found.rows:
        which = TUNED if TUNED in row.margins else BASE
        rows.append({"row": row.row, "margins": row.margins[which], "log_probs": row.log_probs[which]})
    content = {"made with": decided, "about": found.about, "skipped": found.skipped, "rows": rows}
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    write_text(Path(output), json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def count(recipe: str) -> dict[str, Any]:
    """The work of a row of a recipe, see `recipe_check.cost`, the reference's left out: a cache knows that."""
    from vistadpo_plugin.recipe_check import cost, memory, tokens
    from vistadpo_plugin.recipe_check.model import shape_of
    from vistadpo_plugin.recipe_check.recipe import read_recipe
    from vistadpo_plugin.training.workflow import row_tokens

    read = read_recipe(Path(recipe), [])
    tokenizer = tokens.tokenizer_of(read)
    views = tokens.views_of(read, tokenizer)
    if views is None:
        raise ValueError(
            f"{read.model.model_name_or_path} is neither here nor a model that is known, so its work cannot be "
            "counted: give a folder, or give the rung `max_steps` instead of `same_compute_as`."
        )
    shape = shape_of(read.model.model_name_or_path, read.data.template)
    most = row_tokens(read.spreads_parameters, read.on_cpu)
    texts = tokens.texts_of(tokens.rows_of(read).good, tokenizer)
    work = cost.work_of(read.finetuning, views, texts, read.training.per_device_train_batch_size, most)
    backward = 1 if read.finetuning.finetuning_type in ("lora", "oft") else 2
    again = memory.again_share(read, shape, work)
    return {"work": cost.cost_of(work, shape, backward, again, reference=False).policy, **asdict(work)}


JOBS = {job.__name__: job for job in (train, ask, probe, count)}


def clear() -> None:
    """Give back what the last job held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
