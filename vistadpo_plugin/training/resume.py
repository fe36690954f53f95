"""Where a run goes on: the newest whole checkpoint, or the one that the recipe names, if that is whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from llamafactory.extras import logging

from vistadpo_plugin.scoring.sharded import from_first_rank
from vistadpo_plugin.training.checkpoint_files import Layout, fault, layout_of

logger = logging.get_logger("llamafactory.vistadpo")

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def settle_resume(training_args: Any, finetuning_args: Any) -> None:
    """Set `resume_from_checkpoint` to a whole checkpoint, or to None where the run has to start anew.

    The host has put the newest checkpoint of `output_dir` there where the recipe says nothing. All ranks call it and
    do what the first one finds. Raises ValueError for a checkpoint that the recipe names and that is not whole.
    """
    if not training_args.do_train or not training_args.resume_from_checkpoint:
        return
    layout = layout_of(training_args, finetuning_args.finetuning_type)
    named = finetuning_args.given_keys.get("resume_from_checkpoint")
    if isinstance(named, str):
        reason = from_first_rank(fault(Path(named), layout))
        if reason is not None:
            raise ValueError(
                f"`resume_from_checkpoint: {named}` is not a whole checkpoint: {reason}. Name another one"
                + _whole_beside(Path(named), layout)
                + "."
            )
        return
    chosen, passed_over = from_first_rank(newest_whole(Path(training_args.output_dir), layout))
    for folder, reason in passed_over:
        logger.warning_rank0(f"{folder} is not a whole checkpoint and is passed over: {reason}.")
    if chosen is not None:
        if passed_over:
            logger.warning_rank0(f"Resuming from {chosen} instead.")
    elif named:
        raise ValueError(
            f"`resume_from_checkpoint: {named}`: there is no whole checkpoint in {training_args.output_dir}. Remove "
            "the key to start anew."
        )
    else:
        logger.warning_rank0("There is no whole checkpoint: the run starts from its beginning.")
    training_args.resume_from_checkpoint = chosen


def newest_whole(output_dir: Path, layout: Layout) -> tuple[str | None, list[tuple[str, str]]]:
    """The whole checkpoint of most steps, and the (folder, why not) of those with more."""
    passed_over = []
    for folder in _checkpoints(output_dir):
        reason = fault(folder, layout)
        if reason is None:
            return str(folder), passed_over
        passed_over.append((str(folder), reason))
    return None, passed_over


def _checkpoints(output_dir: Path) -> list[Path]:
    """Folders of checkpoints, that of most steps first."""
    folders = [path for path in output_dir.glob("checkpoint-*") if path.is_dir() and _steps(path) >= 0]
    return sorted(folders, key=_steps, reverse=True)


def _steps(folder: Path) -> int:
    match = _CHECKPOINT.fullmatch(folder.name)
    return int(match[1]) if match else -1


def _whole_beside(folder: Path, layout: Layout) -> str:
    chosen, _ = newest_whole(folder.parent, layout)
    return "" if chosen is None else f" ({chosen} is whole)"
