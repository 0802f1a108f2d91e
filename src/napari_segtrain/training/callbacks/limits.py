"""Regular ends of a training before its last epoch."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl

from napari_segtrain.runs import FinishReason

from ..module import SegmentationModule


class Ending:
    """Why the loop ended; all epochs when nobody had another reason."""

    def __init__(self) -> None:
        self.reason: str = FinishReason.ALL_EPOCHS

    def end(self, trainer: pl.Trainer, reason: FinishReason) -> None:
        """Let the loop end after the epoch, for `reason`; the first reason counts."""
        if not trainer.should_stop:
            self.reason = reason
        trainer.should_stop = True


class StopAfter(pl.Callback):
    """Ends after an epoch with this number, as if the user had stopped there.

    Parameters
    ----------
    epoch
        Counted from 1.
    ending
        Told why.
    """

    def __init__(self, epoch: int, ending: Ending) -> None:
        self.epoch = epoch
        self.ending = ending

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Look at the number of completed epochs."""
        if pl_module.epochs_done >= self.epoch:
            self.ending.end(trainer, FinishReason.STOP_AFTER)


class EarlyStop(pl.Callback):
    """Ends when the monitored value was not better for a number of validations.

    Parameters
    ----------
    patience
        How many.
    ending
        Told why.
    """

    def __init__(self, patience: int, ending: Ending) -> None:
        self.patience = patience
        self.ending = ending

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Look at how long there was no improvement."""
        if pl_module.monitor.waited >= self.patience:
            self.ending.end(trainer, FinishReason.EARLY_STOPPING)


class TimeLimit(pl.Callback):
    """Ends when the time is up: the epoch is cut short, validated, and counts as complete.

    The time that a validation takes is measured and kept back for the last one.

    Parameters
    ----------
    ending
        Told why.
    """

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self._began = 0.0

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        if pl_module.journey.time_is_up and not trainer.should_stop:
            # The last weights shall be judged, also where validations are rare.
            trainer.check_val_every_n_epoch = 1
            self.ending.end(trainer, FinishReason.MAX_TIME)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Start the clock of the validation."""
        self._began = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Keep its time back."""
        (pl_module.journey.reserve,) = pl_module.team.agree(time.monotonic() - self._began)
