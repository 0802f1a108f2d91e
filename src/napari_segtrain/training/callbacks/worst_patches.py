"""Which validation patches the network predicts worst, while it learns."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from napari_segtrain.data import PatchSpec
from napari_segtrain.network import lost_device
from napari_segtrain.runs import Emit, RunFolder, Warned
from napari_segtrain.runs.worst import LISTED, WorstPatch, write_worst
from napari_segtrain.targets import Head

from ..data import SegtrainDataModule
from ..metrics import head_metric
from ..module import SegmentationModule

logger = logging.getLogger(__name__)

_PARTS = ("boundary", "centre_distance")
"""Encodings that only serve to separate objects."""
_EVERY = 5.0
"""Seconds between two lists on the disk, except for the last one."""


class WorstPatches(pl.Callback):
    """Lists the patches of each validation with the worst score, for each output, in the run folder.

    The score is the one that is followed while training, of a single patch. A failure is reported, and no
    more patches are listed: it never ends a training.

    Parameters
    ----------
    run
        Where to.
    heads
        The outputs of the network.
    emit
        Told of a failure.
    """

    def __init__(self, run: RunFolder, heads: Sequence[Head], emit: Emit) -> None:
        self.run = run
        self.emit = emit
        self._metrics = {head.name: head_metric(head) for head in heads if head.encoding not in _PARTS}
        for metric in self._metrics.values():
            # Of several processes only the one that leads is here: the others would be waited for in vain.
            metric.distributed_available_fn = lambda: False
        self._found: dict[str, list[WorstPatch]] = {}
        self._waiting: tuple[int, list[WorstPatch]] | None = None
        self._written = -math.inf
        self._failed = False

    def on_validation_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Begin a list."""
        self._found = {name: [] for name in self._metrics}

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: SegmentationModule,
        outputs: Any,
        batch: Mapping[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the patches of a batch one by one."""
        data = getattr(trainer, "datamodule", None)
        if self._failed or outputs is None or not isinstance(data, SegtrainDataModule):
            return
        try:
            for sample, spec in enumerate(data.loader("val").specs(batch_idx)):
                self._score(spec, sample, outputs, batch)
        except Exception as error:
            if lost_device(error):
                raise
            self._fail(error)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the list when the last one is some seconds old."""
        worst = [patch for known in self._found.values() for patch in _worst(known)]
        self._waiting = pl_module.epochs_done + 1, worst
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def on_train_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Write the last list."""
        self._write()

    def _score(
        self, spec: PatchSpec, sample: int, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]
    ) -> None:
        for name, metric in self._metrics.items():
            raw = outputs[name]
            raw = raw[0] if isinstance(raw, list) else raw
            own = {key: batch[key][sample : sample + 1].to(raw.device) for key in (name, f"{name}_mask")}
            metric.to(raw.device)
            metric.reset()
            metric.update({name: raw[sample : sample + 1]}, own)
            score, value = next(iter(metric.compute().items()))
            number = float(value)
            if math.isfinite(number):
                known = self._found[name]
                known.append(_patch(name, spec, score.removeprefix(f"{name}_"), number))
                if len(known) > 10 * LISTED:
                    known[:] = _worst(known)
            metric.reset()

    def _write(self) -> None:
        if self._waiting is None or self._failed:
            return
        (epoch, worst), self._waiting = self._waiting, None
        self._written = time.monotonic()
        try:
            write_worst(self.run, worst, epoch)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failed = True
        logger.exception("the worst patches could not be listed")
        self.emit(Warned(message=f"the worst patches are not listed; training goes on ({error})"))


def _patch(output: str, spec: PatchSpec, score: str, value: float) -> WorstPatch:
    """Return a patch as far as it lies in its region: a small region lies in the middle of its patch."""
    sides = list(zip(spec.start, spec.size, spec.region.start, spec.region.stop, strict=True))
    start = tuple(max(first, low) for first, _, low, _ in sides)
    stop = tuple(min(first + size, high) for first, size, _, high in sides)
    return WorstPatch(output, spec.record, start, stop, score, value)


def _worst(patches: Sequence[WorstPatch]) -> list[WorstPatch]:
    bad = [patch for patch in patches if patch.badness > 0]
    return sorted(bad, key=lambda patch: -patch.badness)[:LISTED]
