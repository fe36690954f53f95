"""The evaluation of one model on one split: what is there already is recognised, the rest goes to the worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vistadpo_plugin.ablation.plan import Run, asked_with, probed_with
from vistadpo_plugin.ablation.recipe import Ablation, Split
from vistadpo_plugin.ablation.results.figures import PROBE
from vistadpo_plugin.ablation.worker import Worker
from vistadpo_plugin.evaluation.benchmarks import BENCHMARKS
from vistadpo_plugin.evaluation.recipe import Recipe
from vistadpo_plugin.evaluation.replies import REPLIES, known_replies
from vistadpo_plugin.evaluation.settings import check_same, fingerprint, make_settings, read_settings
from vistadpo_plugin.run_record.provenance import DECIDING, file_sha256, versions

EVALUATION = "evaluation"
LOGS = "logs"


class Evaluator:
    """Evaluates models on a split; `worker` does what is not done yet."""

    def __init__(self, ablation: Ablation, name: str, split: Split, worker: Worker):
        self.ablation, self.name, self.split, self.worker = ablation, name, split, worker
        self.folder = ablation.output_dir / EVALUATION / name
        self.questions = {
            benchmark: BENCHMARKS[benchmark].questions(folders.annotations)
            for benchmark, folders in split.benchmarks.items()
        }

    def evaluate(self, model: str, base: str, run: Run | None) -> None:
        """Ask and probe a model. Raises JobFailed, and ValueError for replies that were made in another way."""
        log = self.ablation.output_dir / LOGS / f"{model}.{self.name}.txt"
        keys = asked_with(self.ablation, base, run)
        missing = [name for name in self.split.benchmarks if not self._is_asked(name, model, keys)]
        if missing:
            self.worker.run(
                "ask",
                log,
                model=model,
                keys=keys,
                benchmarks={name: self._folders(name) for name in missing},
                output_dir=str(self.folder),
                batch_size=self.ablation.evaluation["batch_size"],
                max_new_tokens=self.ablation.evaluation["max_new_tokens"],
            )
        if self.split.probe is not None:
            self._probe(model, base, run, log)

    def _folders(self, name: str) -> tuple[str, str]:
        folders = self.split.benchmarks[name]
        return str(folders.annotations), str(folders.videos)

    def _is_asked(self, name: str, model: str, keys: dict[str, Any]) -> bool:
        """Whether every reply is there, made as it would be made now."""
        folder, questions = self.folder / name / model, self.questions[name]
        settings = read_settings(folder)
        path = folder / REPLIES
        if settings is None or not path.is_file() or not path.read_bytes().endswith(b"\n"):
            return False
        recipe = Recipe({model: keys}, {}, self.folder, 1, self.ablation.evaluation["max_new_tokens"], None)
        check_same(settings, make_settings(recipe, model, BENCHMARKS[name].prompt, questions), folder, versions=True)
        return len(known_replies(path, questions)) == len(questions)

    def _probe(self, model: str, base: str, run: Run | None, log: Path) -> None:
        probe = self.split.probe
        keys = {**probed_with(self.ablation, base, run), **probe.keys}
        decided = {
            **keys,
            "model files": fingerprint(keys["model_name_or_path"]),
            "adapter files": fingerprint(keys.get("adapter_name_or_path")),
            "data": file_sha256(probe.data),
            "versions": versions(*DECIDING),
        }
        path = self.folder / PROBE / f"{model}.json"
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))["made with"]
            check_same(known, decided, path, versions=True, what="margins")
            return
        self.worker.run("probe", log, data=str(probe.data), keys=keys, output=str(path), decided=decided)
