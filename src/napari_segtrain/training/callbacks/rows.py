"""One row of losses and scores an epoch, in `metrics.json` and `run.json`."""

from __future__ import annotations

import lightning.pytorch as pl

from napari_segtrain.config import RunError
from napari_segtrain.runs import Best, Emit, RunFolder, Warned, ignore

from ..module import SegmentationModule


class RowWriter(pl.Callback):
    """Writes the row of an epoch as soon as its checkpoint is written.

    A full disk does not end a training that has epochs to come: the row comes with the next one.

    Parameters
    ----------
    run
        Where to.
    emit
        Told of a full disk.
    """

    def __init__(self, run: RunFolder, emit: Emit = ignore) -> None:
        self.run = run
        self.emit = emit

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the row, the number of completed epochs and the best one."""
        row = pl_module.finish_epoch()
        monitor = pl_module.monitor
        best = None
        if monitor.best is not None:
            best = Best(epoch=monitor.best_epoch, monitor=monitor.name, value=monitor.best)
        if not trainer.is_global_zero:
            return
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        try:
            self.run.append_metrics(row)
            self.run.update_info(epoch=pl_module.epochs_done, best=best, final_metrics=metrics)
            self.run.write_summary()
        except RunError as error:
            if pl_module.epochs_done >= (trainer.max_epochs or 0):
                raise
            self.emit(Warned(message=f"{error}. The training goes on, and the next epoch tries again"))
