"""What decides a model's replies to a benchmark: kept beside them, so that replies of two kinds are never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vistadpo_plugin.data.rows.dataset_info import write_text
from vistadpo_plugin.data.rows.values import VIDEO_PLACEHOLDER
from vistadpo_plugin.evaluation.question import Question
from vistadpo_plugin.evaluation.recipe import Recipe
from vistadpo_plugin.evaluation.videos import images_rate, part_of
from vistadpo_plugin.evaluation.vllm_backend.support import ENGINE_KEYS, VLLM, installed_version
from vistadpo_plugin.run_record.provenance import DECIDING, fingerprint, versions

SETTINGS = "settings.json"
_OF_NO_WEIGHT = tuple(key for key in ENGINE_KEYS if key != "vllm_config")
"""How much room vLLM takes and how it starts, as `batch_size` does not decide replies either."""
_WEIGHTS = ("model", "adapter")
"""Of each the path, KIND_name_or_path, and what lies there, `KIND files`."""


def user_message(prompt: str) -> str:
    """What the model is told: the video, and the prompt on the next line, as in a training row."""
    return f"{VIDEO_PLACEHOLDER}\n{prompt}"


def make_settings(recipe: Recipe, model: str, prompt: str, questions: Sequence[Question]) -> dict[str, Any]:
    """Everything that decides the replies of `model` to `questions`, but the videos' content."""
    keys = recipe.models[model]
    vllm = installed_version() if keys.get("infer_backend") == VLLM else None
    return {
        **{key: value for key, value in keys.items() if key not in _OF_NO_WEIGHT},
        "model files": fingerprint(keys["model_name_or_path"]),
        "adapter files": fingerprint(keys.get("adapter_name_or_path")),
        "prompt": user_message(prompt),
        "decoding": f"greedy, at most {recipe.max_new_tokens} new tokens",
        "questions": _hash_questions(questions),
        "versions": versions(*DECIDING) | ({VLLM: vllm} if vllm else {}),
    }


def _hash_questions(questions: Iterable[Question]) -> str:
    """SHA-256 of what is asked; answers and subsets may be corrected without asking again."""
    asked = [
        [question.id, question.video, question.prompt, part_of(question), images_rate(question)]
        for question in questions
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Into `folder`, which is made where it is missing; a reader finds all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of the replies in `folder`, None where nobody wrote any. Raises ValueError for a damaged file."""
    path = folder / SETTINGS
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged: delete the folder {folder}, its questions are asked again.") from None


def check_same(known: dict[str, Any], now: dict[str, Any], place: Path, versions: bool, what: str = "replies") -> None:
    """Raise ValueError, naming what differs, where `what` lies in `place` was made with other settings.

    Weights that are the same may lie elsewhere now; those that lie on another machine cannot be compared and pass.
    `versions`: whether other releases of the packages count; they do where something is added to what is there.
    """
    moved = {
        f"{kind}_name_or_path"
        for kind in _WEIGHTS
        if (files := now.get(f"{kind} files")) and files == known.get(f"{kind} files")
    }
    differences = []
    for key in sorted((known.keys() | now.keys()) - moved):
        there, here = known.get(key), now.get(key)
        unknown = key.endswith(" files") and None in (there, here)
        if there != here and not unknown and (versions or key != "versions"):
            differences.append(f"{key}: {_shown(there)} there, {_shown(here)} here")
    if differences:
        raise ValueError(
            f"the {what} in {place} were made with other settings ({'; '.join(differences)}). Delete {place} to make "
            "them anew, name another `output_dir`, or put the recipe back."
        )


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] if len(text) == 64 and " " not in text else repr(text) if isinstance(value, str) else text
