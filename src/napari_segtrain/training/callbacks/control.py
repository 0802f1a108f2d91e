"""Stop and pause, looked at between two batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl

from napari_segtrain.runs import Control, Emit, FinishReason, ignore

from ..errors import StopRequested
from ..module import SegmentationModule
from ..schedules import Stopwatch


class ControlCallback(pl.Callback):
    """Obeys a `Control`; to be the last callback, so that the others have seen the batch.

    A stop in the middle of an epoch is saved together with the number of batches that are done, so that
    a resumed run goes on with the next batch. While batches are accumulated it waits for the step.

    Parameters
    ----------
    control
        The requests.
    save
        Writes a checkpoint of everything as it is.
    stopwatch
        Stands still during a pause.
    emit
        Told of pauses.
    """

    def __init__(
        self,
        control: Control,
        save: Callable[[pl.Trainer, SegmentationModule], None],
        stopwatch: Stopwatch,
        emit: Emit = ignore,
    ) -> None:
        self.control = control
        self.save = save
        self.stopwatch = stopwatch
        self.emit = emit

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Wait while paused; end the epoch here when asked to stop."""
        batches = batch_idx + 1
        between_steps = batches % pl_module.accumulate == 0 or batches == trainer.num_training_batches
        if batch and between_steps and self._asked_to_stop(pl_module):
            self._leave(trainer, pl_module, batches)

    def on_validation_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, *args: Any
    ) -> None:
        """Wait while paused; give up the validation when asked to stop. It is done again on resuming."""
        if self._asked_to_stop(pl_module):
            pl_module.leave_evaluation()
            self._leave(trainer, pl_module, int(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """End the training when asked to; the epoch's checkpoint is written already."""
        if self._asked_to_stop(pl_module):
            raise StopRequested(self.control.stop_reason or FinishReason.STOPPED)

    def _asked_to_stop(self, module: SegmentationModule) -> bool:
        """Return whether the leader is asked to stop: all processes end after the same batch."""
        if self.control.paused and not self.control.stopped:
            self.stopwatch.pause()
            self.control.wait_while_paused(self.emit)
            self.stopwatch.start()
        (stop,) = module.team.agree(self.control.stopped)
        return bool(stop)

    def _leave(self, trainer: pl.Trainer, module: SegmentationModule, batches: int) -> None:
        module.batches_done = batches
        self.save(trainer, module)
        raise StopRequested(self.control.stop_reason or FinishReason.STOPPED)
