"""A run's own record: whether it is finished, how it was made, and every try that failed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from vistadpo_plugin.ablation.plan import Run, dataset_names
from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.evaluation.settings import check_same, fingerprint
from vistadpo_plugin.run_record.provenance import DECIDING, file_sha256, versions
from vistadpo_plugin.validation.source import find_source

RECORD = "run.json"
FINISHED, FAILED = "finished", "failed"
_WHERE = ("output_dir", "vista_reference_cache", "dataset_dir", "media_dir")
"""Keys that say where things lie, and decide nothing."""


def decides(keys: dict[str, Any], dataset_dir: str) -> dict[str, Any]:
    """Everything that decides what a run of these keys makes, but the videos' content; `dataset_dir` lists its rows.

    Raises ValueError where there are none.
    """
    files = {
        f"{name}: {Path(file).name}": file_sha256(file)
        for name in dataset_names(keys)
        for file in find_source(name, dataset_dir).files
    }
    return {
        **{key: value for key, value in keys.items() if key not in _WHERE},
        "model files": fingerprint(keys["model_name_or_path"]),
        "data": files,
        "versions": versions(*DECIDING),
    }


class Record:
    """What is known of a run, in its folder; `content` is the file's: status, tries, seconds, figures of training."""

    def __init__(self, run: Run, decided: dict[str, Any]):
        """Raises ValueError where the folder holds a run that was made in another way."""
        self.run, self.path = run, run.folder / RECORD
        self.content: dict[str, Any] = {"run": run.name, "status": None, "tries": []}
        if self.path.is_file():
            try:
                self.content = dict(json.loads(self.path.read_text(encoding="utf-8")))
                known = dict(self.content["made with"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{self.path} is damaged: delete the folder {run.folder}, and it is run again."
                ) from None
            if self.finished:
                check_same(known, decided, run.folder, versions=True, what="weights")
        self.content["made with"] = decided

    @property
    def finished(self) -> bool:
        return self.content["status"] == FINISHED

    @property
    def seconds(self) -> float | None:
        """What training took, where it is finished."""
        return self.content.get("seconds") if self.finished else None

    def close(self, status: str, about: dict[str, Any]) -> None:
        """Write down how a try ended."""
        self.content["tries"] = [*self.content["tries"], {"status": status, **about}]
        self.content |= {"status": status, **about}
        if status == FINISHED:
            self.content.pop("error", None)
        self.run.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(self.content, indent=1, ensure_ascii=False) + "\n")

    def begin(self) -> Path | None:
        """Make the folder ready for a try: the last whole checkpoint of one that was killed, else nothing is left."""
        checkpoint = _last_checkpoint(self.run.model)
        if checkpoint is None and self.run.model.exists():
            shutil.rmtree(self.run.model)
        return checkpoint


def _last_checkpoint(folder: Path) -> Path | None:
    """The Trainer writes a checkpoint's trainer_state.json last: those without are torn, and go."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        step = path.name.removeprefix("checkpoint-")
        if step.isdigit() and (path / "trainer_state.json").is_file():
            whole.append((int(step), path))
        else:
            shutil.rmtree(path)
    return max(whole)[1] if whole else None
