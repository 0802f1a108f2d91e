"""Events for followers: epochs, losses, progress and time left."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning.pytorch as pl

from napari_segtrain.runs import BatchDone, Emit, EpochDone, EpochStarted, Progress

from ..module import SegmentationModule

_SMOOTH = 0.9


class Pace:
    """How long batches and validations take, and what that says of the rest.

    Attributes
    ----------
    batch
        Seconds a training batch, averaged over about the last ten, with the wait for its data.
    validation
        Seconds of the latest validation.
    """

    def __init__(self) -> None:
        self.batch: float | None = None
        self.validation = 0.0
        self._mark: float | None = None
        self._ticks = 0

    def mark(self) -> None:
        """Begin to measure: what was before is no part of the next batch."""
        self._mark = time.monotonic()

    def tick(self) -> None:
        """Note that a batch is done."""
        now = time.monotonic()
        if self._mark is not None:
            taken = now - self._mark
            # The first batch compiles and fills caches: it tells nothing as soon as there is another.
            fresh = self.batch is None or self._ticks == 1
            self.batch = taken if fresh else _SMOOTH * (self.batch or taken) + (1 - _SMOOTH) * taken
            self._ticks += 1
        self._mark = now

    def seconds(self, batches: float, validations: float) -> float | None:
        """Return how long so many batches and validations take; None before the first batch."""
        return None if self.batch is None else batches * self.batch + validations * self.validation


class Announcer(pl.Callback):
    """Emits the events of a training; those of batches at most `rate` times a second.

    Parameters
    ----------
    emit
        Where to.
    num_epochs
        Epochs at the end of the run.
    rate
        Events of one kind a second, at most. A GPU is only waited for when one is due.
    """

    def __init__(self, emit: Emit, num_epochs: int, rate: float = 4.0) -> None:
        self.emit = emit
        self.num_epochs = num_epochs
        self.pace = Pace()
        self._interval = 1.0 / rate
        self._next = -math.inf
        self._validation_began = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Announce the epoch."""
        self.emit(EpochStarted(epoch=pl_module.epochs_done + 1, num_epochs=self.num_epochs))
        self.pace.mark()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Announce losses and progress when it is time to."""
        if not batch:
            self.pace.mark()
            return
        self.pace.tick()
        now = time.monotonic()
        if now < self._next or pl_module.last_loss is None:
            return
        self._next = now + self._interval
        epoch = pl_module.epochs_done + 1
        self.emit(
            BatchDone(
                epoch=epoch,
                step=pl_module.optimization.step,
                loss=float(pl_module.last_loss),
                parts={name: float(value) for name, value in pl_module.last_parts.items()},
                learning_rate=pl_module.optimization.learning_rate,
            )
        )
        self._progress(trainer, pl_module, batch_idx + 1, f"Epoch {epoch} of {self.num_epochs}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Start the clock of the validation."""
        self._validation_began = time.monotonic()

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: SegmentationModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show that a long validation is alive."""
        now = time.monotonic()
        # The first validation tells how long the others will take, while it goes on.
        share = (batch_idx + 1) / max(int(trainer.num_val_batches[dataloader_idx]), 1)
        self.pace.validation = max(self.pace.validation, (now - self._validation_began) / share)
        if now >= self._next:
            self._next = now + self._interval
            text = f"Validating epoch {pl_module.epochs_done + 1} of {self.num_epochs}"
            self._progress(trainer, pl_module, int(trainer.num_training_batches), text, share)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Remember how long it took."""
        self.pace.validation = time.monotonic() - self._validation_began
        self.pace.mark()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Announce the epoch's row."""
        row = pl_module.finish_epoch()
        epoch = pl_module.epochs_done
        self.emit(EpochDone(epoch=epoch, num_epochs=self.num_epochs, row=row))
        self._progress(trainer, pl_module, 0, f"Epoch {epoch} of {self.num_epochs} done")

    def _progress(
        self, trainer: pl.Trainer, module: SegmentationModule, batches: int, text: str, validated: float = 0.0
    ) -> None:
        """Emit the progress.

        Parameters
        ----------
        batches, validated
            What is done of the current epoch: training batches, and the share of its validation.
        """
        size, epochs = int(trainer.num_training_batches), self.num_epochs
        every = (trainer.check_val_every_n_epoch or 1) if trainer.enable_validation else epochs + 1
        done = module.epochs_done * size + batches
        judged = module.epochs_done // every + validated
        total = self.pace.seconds(epochs * size, epochs // every)
        spent = self.pace.seconds(done, judged)
        fraction = done / max(epochs * size, 1) if not total or spent is None else spent / total
        left = None if total is None or spent is None else max(total - spent, 0.0)
        journey = module.journey
        if journey.time_limit is not None:
            remaining = max(journey.time_limit - journey.stopwatch.seconds, 0.0)
            left = remaining if left is None else min(left, remaining)
            fraction = max(fraction, 1.0 - remaining / journey.time_limit)
        self.emit(Progress(fraction=min(max(fraction, 0.0), 1.0), seconds_left=left, text=text))
