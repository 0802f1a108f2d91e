"""Curves for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from ..module import SegmentationModule

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_WRITE_EVERY = 5.0


class TensorBoardCallback(pl.Callback):
    """Writes the loss of each batch, and the losses, scores and learning rate of each epoch.

    Losses of batches stay on the device and are fetched together every few seconds.

    Parameters
    ----------
    folder
        Where to; made when the first value is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._losses: list[Tensor] = []
        self._first = 0
        self._next = 0.0

    @property
    def writer(self) -> SummaryWriter:
        """The writer, which also takes pictures; importing it takes a second."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        return self._writer

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the loss of the batch."""
        if not batch or pl_module.last_loss is None:
            return
        if not self._losses:
            self._first = pl_module.epochs_done * int(trainer.num_training_batches) + batch_idx
        self._losses.append(pl_module.last_loss)
        if time.monotonic() >= self._next:
            self._write_losses()

    def _write_losses(self) -> None:
        if not self._losses:
            return
        for offset, value in enumerate(torch.stack(self._losses).tolist()):
            self.writer.add_scalar("training_loss", value, self._first + offset)
        self._losses = []
        self._next = time.monotonic() + _WRITE_EVERY

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the row of the epoch."""
        self._write_losses()
        row, epoch = pl_module.finish_epoch(), pl_module.epochs_done
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(_tag(name), value, epoch)
        self.writer.flush()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the file, also after a failure."""
        self._write_losses()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tag(name: str) -> str:
    """Return ``epoch_train_loss`` and the like for the four curves that every run has."""
    general = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    return f"epoch_{name}" if name in general else name
