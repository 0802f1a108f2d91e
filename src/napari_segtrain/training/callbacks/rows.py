"""One row of losses and scores an epoch, in `metrics.json` and `run.json`."""

from __future__ import annotations

import lightning.pytorch as pl

from napari_segtrain.runs import Best, RunFolder

from ..module import SegmentationModule


class RowWriter(pl.Callback):
    """Writes the row of an epoch as soon as it is complete.

    Parameters
    ----------
    run
        Where to.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the row, the number of completed epochs and the best one."""
        row = pl_module.finish_epoch()
        monitor = pl_module.monitor
        best = None
        if monitor.best is not None:
            best = Best(epoch=monitor.best_epoch, monitor=monitor.name, value=monitor.best)
        if trainer.is_global_zero:
            self.run.append_metrics(row)
            metrics = {name: value for name, value in row.items() if name != "epoch"}
            self.run.update_info(epoch=pl_module.epochs_done, best=best, final_metrics=metrics)
            self.run.write_summary()
