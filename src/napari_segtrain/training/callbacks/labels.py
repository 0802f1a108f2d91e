"""Labels that are painted while the training runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl

from napari_segtrain.config import SegtrainError
from napari_segtrain.runs import Control, Emit, LabelChange, LabelsApplied, Warned

from ..module import SegmentationModule

ApplyLabels = Callable[[LabelChange], bool]
"""Makes later batches use changed labels; returns whether any patch is touched."""


class LabelChanges(pl.Callback):
    """Passes painted blocks on to the data, between two batches.

    Parameters
    ----------
    control
        Where they are announced.
    apply
        What takes them.
    emit
        Told when they have arrived.
    """

    def __init__(self, control: Control, apply: ApplyLabels, emit: Emit) -> None:
        self.control = control
        self.apply = apply
        self.emit = emit

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take what was painted since the last batch."""
        for change in self.control.take_labels():
            try:
                touched = self.apply(change)
            except SegtrainError as error:
                # A stroke in a layer that is not trained on is no reason to end the training.
                self.emit(Warned(message=f"painted labels could not be used: {error}"))
                continue
            if touched:
                self.emit(
                    LabelsApplied(
                        record=change.record, target=change.target, start=change.start, stop=change.stop
                    )
                )
