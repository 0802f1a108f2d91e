"""A look at what the network predicts now, while it learns."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import lightning.pytorch as pl
import torch

from napari_segtrain.network import lost_device
from napari_segtrain.runs import DeviceLostError, Emit, Warned

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


class Budget:
    """Holds what is done beside the training to a share of the time.

    After each time that took t seconds it waits for t · (1 / share - 1), and saves nothing up: whatever part
    of a training one looks at, it had the rest of the time to itself.

    Parameters
    ----------
    share
        Largest share of the time, 0 < share < 1.
    interval
        Least seconds between two.
    now
        The clock, in seconds; a test gives its own.
    """

    def __init__(
        self, share: float = 0.1, interval: float = 0.25, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.share = share
        self.interval = interval
        self._now = now
        self._begun: float | None = None
        self._next = -math.inf
        self._spent = 0.0

    @property
    def due(self) -> bool:
        """Whether it may be done now."""
        return self._now() >= self._next

    @property
    def kept(self) -> float:
        """Share of the time since the first was begun that was left to the training; 1 before that."""
        passed = 0.0 if self._begun is None else self._now() - self._begun
        return 1.0 - self._spent / passed if passed > 0 else 1.0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Measure what is done in the block."""
        start = self._now()
        self._begun = start if self._begun is None else self._begun
        try:
            yield
        finally:
            end = self._now()
            self._spent += end - start
            self._next = end + max(self.interval, (end - start) * (1.0 / self.share - 1.0))


class PreviewCallback(pl.Callback):
    """Calls a preview after the first batch and then as often as its share of the time allows.

    The network is in eval mode and has its averaged weights; weights, mode and random state are as before
    afterwards. A preview that fails is reported, and given up after the third time. It never ends a training,
    unless the GPU itself was lost.

    Parameters
    ----------
    preview
        What to call.
    emit
        Told of failures.
    budget
        Says when it may be called.
    """

    def __init__(self, preview: Preview, emit: Emit, budget: Budget | None = None) -> None:
        self.preview = preview
        self.emit = emit
        self.budget = budget if budget is not None else Budget()
        self._failures = 0

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call it when it is due."""
        if batch and self.budget.due:
            self.show(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Show the final weights, and note what previews cost."""
        logger.info("live previews left %.0f %% of the time to the training", 100 * self.budget.kept)
        self.show(pl_module)

    def show(self, module: SegmentationModule) -> None:
        """Call it now."""
        if self._failures >= _MOST_FAILURES:
            return
        with self.budget.spend():
            module.enter_evaluation()
            module.network.eval()
            try:
                with torch.no_grad():
                    self.preview(module, module.epochs_done, module.optimization.step)
            except Exception as error:
                if isinstance(error, DeviceLostError) or lost_device(error):
                    raise
                self._failures += 1
                logger.exception("the live preview failed")
                self.emit(Warned(message=f"the live preview failed; training goes on ({error})"))
            finally:
                module.network.train()
                module.leave_evaluation()
