"""Whether a run does what it planned: every epoch as many steps as its rows make, and rows in them."""

from __future__ import annotations

import math
from typing import Any

from llamafactory.extras import logging
from transformers import TrainerCallback

logger = logging.get_logger("llamafactory.vistadpo")


class Progress(TrainerCallback):
    """Counts steps and usable rows; a short or empty epoch is an error, an empty step is said.

    The Trainer takes the end of its data loader for the end of an epoch, whatever ended it. `stopped` tells that a
    callback asked for it (early stopping, the host's abort button), `full_steps` counts the run's steps with rows.
    """

    def __init__(self) -> None:
        self.epochs = self.steps_an_epoch = 0
        self.rows = self.steps = self.full_steps = 0
        self.whole = False
        self.stopped = False

    def count(self, step: int, rows: int) -> None:
        """Optimizer step `step` has `rows` usable rows, on all ranks together."""
        self.rows += rows
        self.full_steps += rows > 0
        if rows == 0:
            logger.warning_rank0(
                f"Step {step} has no usable row: all of its rows are skipped, so its gradient is 0. Momentum and "
                "weight decay act all the same."
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        self.stopped, self.full_steps = False, 0
        self.steps_an_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
        self.epochs = state.global_step // self.steps_an_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rows = self.steps = 0
        self.whole = state.global_step % self.steps_an_epoch == 0  # not one that a resumed run finds begun

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps += 1
        self._look(control)

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._look(control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._look(control)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._look(control)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._look(control)

    def _look(self, control: Any) -> None:
        self.stopped = self.stopped or control.should_training_stop or control.should_epoch_stop

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epochs += 1
        planned = min(self.epochs * self.steps_an_epoch, state.max_steps)
        if state.global_step < planned and not self.stopped:
            raise RuntimeError(
                f"Epoch {self.epochs} ended at step {state.global_step} where {planned} were planned: its data loader "
                "gave fewer batches than its rows make. The run stops; nothing of this epoch is saved."
            )
        if self.whole and self.steps and not self.rows:
            raise RuntimeError(
                f"Epoch {self.epochs} had no usable row in its {self.steps} steps: all were skipped "
                "(skipped_rows.jsonl in the output folder says why). The run stops; nothing of this epoch is saved."
            )
