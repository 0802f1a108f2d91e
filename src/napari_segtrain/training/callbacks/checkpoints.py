"""Checkpoints of a run: best, last, and the newest numbered ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.fabric.plugins import CheckpointIO

from napari_segtrain.runs import (
    BEST,
    LAST,
    Checkpoint,
    Emit,
    RunFolder,
    give_another_name,
    ignore,
    load_checkpoint,
    numbered_name,
    prune,
    save_checkpoint,
)

from ..module import SegmentationModule


class RunCheckpointIO(CheckpointIO):
    """Lets Lightning write and read checkpoints as the runs' room does: whole, and without code in them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint atomically."""
        save_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint to the processor's memory."""
        return load_checkpoint(Path(path), map_location=map_location or "cpu")

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


class CheckpointCallback(pl.Callback):
    """Writes ``last.ckpt`` at the end of every epoch and keeps it under other names where due.

    A checkpoint is written once; ``best.ckpt`` and the numbered ones are further names of the same file,
    or copies on disks that have no such thing.

    Parameters
    ----------
    run
        Where to.
    model_name
        The numbered ones are called ``<model_name>_<epoch>.pth``.
    keep
        How many numbered ones are kept; 0 for none.
    emit
        Told of each checkpoint.
    """

    def __init__(self, run: RunFolder, model_name: str, keep: int, emit: Emit = ignore) -> None:
        self.run = run
        self.model_name = model_name
        self.keep = keep
        self.emit = emit

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.run.checkpoints / LAST

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the checkpoints of the epoch that has just ended."""
        pl_module.finish_epoch()
        self.save(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        epoch, folder = pl_module.epochs_done, self.run.checkpoints
        if self.keep:
            numbered = folder / numbered_name(self.model_name, epoch)
            give_another_name(self.last, numbered)
            self._tell(numbered, "numbered", pl_module)
            prune(folder, self.model_name, self.keep)
        if pl_module.monitor.improved:
            give_another_name(self.last, folder / BEST)
            self._tell(folder / BEST, "best", pl_module)

    def save(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        """Write ``last.ckpt`` with everything as it is now."""
        trainer.save_checkpoint(self.last)
        if trainer.is_global_zero:
            self._tell(self.last, "last", module)

    def _tell(
        self, path: Path, kind: Literal["best", "last", "numbered"], module: SegmentationModule
    ) -> None:
        row = module.rows[-1] if module.rows else {}
        monitor = module.monitor.name
        self.emit(
            Checkpoint(
                path=str(path), kind=kind, epoch=module.epochs_done, monitor=monitor, value=row.get(monitor)
            )
        )
