"""The labels of a session, kept with every checkpoint."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from napari_segtrain.config import SegtrainError
from napari_segtrain.runs import Emit, Warned

from ..label_history import LabelHistory
from ..module import SegmentationModule


class LabelStates(pl.Callback):
    """Writes what the labels are when a checkpoint is written, and their name into the checkpoint.

    Labels that cannot be kept end no training: that is said once.

    Parameters
    ----------
    history
        Follows the labels.
    emit
        Told what goes wrong.
    """

    def __init__(self, history: LabelHistory, emit: Emit) -> None:
        self.history = history
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
            state = self.history.state()
            self.history.store.note(pl_module.epochs_done + begun, state)
        except SegtrainError as error:
            if str(error) != self._said:
                self._said = str(error)
                message = f"the labels of this training are not kept with its checkpoints: {error}"
                self.emit(Warned(message=message))
            return
        checkpoint["labels"] = state
