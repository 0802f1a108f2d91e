"""The labels of a session, kept with every checkpoint."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl

from napari_segtrain.config import DataError, SegtrainError
from napari_segtrain.runs import Control, Emit, Progress, Warned

from ..label_history import LabelHistory
from ..module import SegmentationModule

_TELL_EVERY = 0.5
"""Seconds between two announcements of how far the labels are read."""
_PATIENCE = 20.0
"""Seconds that a stop waits for labels that are still being read."""


class LabelStates(pl.Callback):
    """Writes what the labels are when a checkpoint is written, and their name into the checkpoint.

    Labels that cannot be kept end no training: that is said once.

    Parameters
    ----------
    history
        Follows the labels.
    control
        A stop does not wait long for labels that are still being read.
    emit
        Told how far they are read when a checkpoint has to wait for that, and what goes wrong.
    """

    def __init__(self, history: LabelHistory, control: Control, emit: Emit) -> None:
        self.history = history
        self.control = control
        self.emit = emit
        self._said = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the labels as they are."""
        self.history.start()

    def on_save_checkpoint(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the labels, and name their state."""
        begun = 1 if pl_module.batches_done else 0
        try:
            self._wait(pl_module.epochs_done / (trainer.max_epochs or 1))
            state = self.history.state()
            self.history.store.note(pl_module.epochs_done + begun, state)
        except SegtrainError as error:
            if str(error) != self._said:
                self._said = str(error)
                message = f"the labels of this training are not kept with its checkpoints: {error}"
                self.emit(Warned(message=message))
            return
        checkpoint["labels"] = state

    def _wait(self, fraction: float) -> None:
        """Wait until the labels as they were at the start are read."""
        asked = None
        while not self.history.wait(_TELL_EVERY):
            if self.control.stopped:
                asked = time.monotonic() if asked is None else asked
                if time.monotonic() - asked > _PATIENCE:
                    raise DataError("they were still being read when the training was asked to stop")
            read = f"Reading the labels, to keep them with the checkpoint: {self.history.share:.0%}"
            self.emit(Progress(fraction=min(1.0, fraction), text=read))
