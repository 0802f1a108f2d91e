"""Curves and pictures for TensorBoard."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from napari_segtrain.runs import DebugPicture, TensorBoardFile

from ..module import SegmentationModule

_WRITE_EVERY = 5.0
BATCHES = "training_loss"
"""The tag whose steps are batches; those of all others are epochs."""
PICTURES = "preview"
"""The tag of the debug pictures."""


class TensorBoardCallback(pl.Callback):
    """Writes the loss of each batch; losses, scores, learning rate and picture of each epoch.

    Losses of batches stay on the device and are fetched together every few seconds. A run that goes on takes
    out what an earlier process wrote of batches and epochs that are trained anew, so that no step has two
    values.

    Parameters
    ----------
    folder
        Where to; made when the first value is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: TensorBoardFile | None = None
        self._losses: list[Tensor] = []
        self._first = 0
        self._next = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Forget what is trained anew."""
        if not trainer.is_global_zero:
            return
        epochs = pl_module.epochs_done
        batches = epochs * int(trainer.num_training_batches) + pl_module.batches_done
        self._file = TensorBoardFile(self.folder)
        self._file.forget(lambda tag, step: step >= batches if tag == BATCHES else step > epochs)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the loss of the batch."""
        if not batch or pl_module.last_loss is None or self._file is None:
            return
        if not self._losses:
            self._first = pl_module.epochs_done * int(trainer.num_training_batches) + batch_idx
        self._losses.append(pl_module.last_loss)
        if time.monotonic() >= self._next:
            self._write_losses()

    def _write_losses(self) -> None:
        if not self._losses or self._file is None:
            return
        for offset, value in enumerate(torch.stack(self._losses).tolist()):
            self._file.add_number(BATCHES, value, self._first + offset)
        self._losses = []
        self._file.flush()
        self._next = time.monotonic() + _WRITE_EVERY

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the row of the epoch."""
        if self._file is None:
            return
        self._write_losses()
        row, epoch = pl_module.finish_epoch(), pl_module.epochs_done
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self._file.add_number(_tag(name), value, epoch)
        self._file.flush()

    def show(self, picture: DebugPicture) -> None:
        """Write a picture of image, ground truth and prediction."""
        if self._file is not None:
            self._file.add_picture(PICTURES, Path(picture.path).read_bytes(), picture.epoch)
            self._file.flush()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is left."""
        self._write_losses()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write what is left, after a stop or a failure: batches that are done are not done again."""
        # A device that failed does not hand out the losses either; its own error is the one to tell.
        with suppress(RuntimeError):
            self._write_losses()


def _tag(name: str) -> str:
    """Return ``epoch_train_loss`` and the like for the four curves that every run has."""
    general = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    return f"epoch_{name}" if name in general else name
