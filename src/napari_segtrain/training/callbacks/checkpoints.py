"""Checkpoints of a run: best, last, and the newest numbered ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.fabric.plugins import CheckpointIO

from napari_segtrain.config import RunError
from napari_segtrain.runs import (
    BEST,
    LAST,
    Checkpoint,
    Emit,
    RunFolder,
    Warned,
    explain_os_error,
    give_another_name,
    ignore,
    load_checkpoint,
    numbered_name,
    prune,
    save_checkpoint,
)

from ..module import SegmentationModule


class RunCheckpointIO(CheckpointIO):
    """Lets Lightning write and read checkpoints as the runs' room does: whole, and without code in them.

    Attributes
    ----------
    tolerant
        Whether a checkpoint that cannot be written is noted in `failure` and not raised, so that all
        processes of a training get on.
    failure
        Why the latest checkpoint was not written; None when it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tolerant = False
        self.failure: RunError | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint atomically."""
        self.failure = None
        try:
            save_checkpoint(Path(path), checkpoint)
        except RunError as error:
            if not self.tolerant:
                raise
            self.failure = error

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
        """Write the checkpoints of the epoch that has just ended.

        A full disk does not end a training that has epochs to come: it is warned of, the older
        checkpoints stay, and the next epoch tries again.
        """
        pl_module.finish_epoch()
        more = pl_module.epochs_done < (trainer.max_epochs or 0)
        try:
            with self._tolerant(trainer, more):
                self.save(trainer, pl_module)
            if trainer.is_global_zero:
                self._name(pl_module)
        except (RunError, OSError) as error:
            if not more:
                raise
            # What is on the disk as the best stays the best to beat.
            pl_module.monitor.take_back()
            why = explain_os_error(error) if isinstance(error, OSError) else str(error)
            self.emit(Warned(message=f"{why}. The training goes on, and the next epoch tries again"))

    @contextmanager
    def _tolerant(self, trainer: pl.Trainer, tolerant: bool) -> Iterator[None]:
        """Let all processes pass a checkpoint that cannot be written, then raise what was in the way."""
        io = trainer.strategy.checkpoint_io
        if not isinstance(io, RunCheckpointIO):
            yield
            return
        io.tolerant = tolerant
        try:
            yield
        finally:
            io.tolerant = False
        if io.failure is not None:
            raise io.failure

    def _name(self, module: SegmentationModule) -> None:
        """Keep the newest checkpoint under the number of its epoch, and as the best where it is."""
        folder = self.run.checkpoints
        if self.keep:
            numbered = folder / numbered_name(self.model_name, module.epochs_done)
            give_another_name(self.last, numbered)
            self._tell(numbered, "numbered", module)
            prune(folder, self.model_name, self.keep)
        if module.monitor.improved:
            give_another_name(self.last, folder / BEST)
            self._tell(folder / BEST, "best", module)

    def save(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        """Write ``last.ckpt`` with everything as it is now."""
        trainer.save_checkpoint(self.last)
        io = trainer.strategy.checkpoint_io
        written = not (isinstance(io, RunCheckpointIO) and io.failure)
        if trainer.is_global_zero and written:
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
