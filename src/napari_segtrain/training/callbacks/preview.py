"""A look at what the network predicts now, while it learns."""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Protocol

import lightning.pytorch as pl
import torch

from napari_segtrain.runs import Emit, Warned

from ..module import SegmentationModule

logger = logging.getLogger(__name__)

_MOST_FAILURES = 3


class Preview(Protocol):
    """What predicts and shows something; given by those who know how."""

    def __call__(self, module: SegmentationModule, epoch: int, step: int) -> None:
        """Predict with ``module.predict``.

        Parameters
        ----------
        module
            In eval mode, with the weights to predict with.
        epoch
            Completed epochs.
        step
            Steps of the optimizer so far.
        """


class PreviewCallback(pl.Callback):
    """Calls a preview after the first batch and then as often as its share of the time allows.

    The network is in eval mode and has its averaged weights; weights, mode and random state are as before
    afterwards. A preview that fails is reported, and given up after the third time: it never ends a
    training.

    Parameters
    ----------
    preview
        What to call.
    emit
        Told of failures.
    share
        Largest share of the time that previews may take.
    interval
        Least seconds between two.
    """

    def __init__(self, preview: Preview, emit: Emit, *, share: float = 0.1, interval: float = 0.25) -> None:
        self.preview = preview
        self.emit = emit
        self.share = share
        self.interval = interval
        self._next = -math.inf
        self._failures = 0

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call it when it is due."""
        if batch and time.monotonic() >= self._next:
            self.show(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Show the final weights."""
        self.show(pl_module)

    def show(self, module: SegmentationModule) -> None:
        """Call it now."""
        if self._failures >= _MOST_FAILURES:
            return
        start = time.monotonic()
        module.enter_evaluation()
        module.network.eval()
        try:
            with torch.no_grad():
                self.preview(module, module.epochs_done, module.optimization.step)
        except Exception as error:
            self._failures += 1
            logger.exception("the live preview failed")
            self.emit(Warned(message=f"the live preview failed; training goes on ({error})"))
        finally:
            module.network.train()
            module.leave_evaluation()
        end = time.monotonic()
        self._next = end + max(self.interval, (end - start) * (1.0 / self.share - 1.0))
