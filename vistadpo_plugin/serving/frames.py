"""Whether a model is asked with the frames it was trained on, by the report that its run left in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamafactory.extras import logging
from llamafactory.hparams import ModelArguments

from vistadpo_plugin.run_record.report import RUN_REPORT

logger = logging.get_logger("llamafactory.vistadpo")

_FRAME_KEYS = ("video_fps", "video_maxlen", "video_max_pixels", "video_min_pixels")


def warn_of_other_frames(model_args: Any) -> None:
    """Say every key by which an adapter or model is shown other frames than it was trained on.

    Nothing is known, and nothing said, of folders without the report of a VistaDPO run.
    """
    folders = [model_args.model_name_or_path, *(model_args.adapter_name_or_path or [])]
    for report in (Path(folder) / RUN_REPORT for folder in folders):
        if not report.is_file():
            continue
        trained = json.loads(report.read_text(encoding="utf-8"))["recipe"]
        for key in _FRAME_KEYS:
            there, here = trained.get(key, getattr(ModelArguments, key)), getattr(model_args, key)
            if float(there) != float(here):
                logger.warning_rank0(
                    f"`{key}` is {here} and was {there} in training ({report}): the frames are others."
                )
