"""What lmms-eval finds under its entry point group `lmms_eval.models`, the model name `vistadpo`; and tasks for it.

Written for lmms-eval 0.7. Nothing of it is imported before lmms-eval itself asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODEL = "vistadpo"
CLASS = "vistadpo_plugin.evaluation.lmms_eval.model.LlamaFactoryModel"

TASKS = Path(__file__).parent / "tasks"
"""The folder for lmms-eval's --include_path."""


def manifest() -> Any:
    """lmms-eval's `ModelManifest` of the chat model that answers with LLaMA-Factory's inference."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=MODEL, chat_class_path=CLASS)
