"""Pictures of image, ground truth and prediction at every validation."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from napari_segtrain.losses.multitask import activated
from napari_segtrain.network import lost_device
from napari_segtrain.runs import DebugPicture, Emit, RunFolder, Warned, give_another_name, write_bytes
from napari_segtrain.targets import Head

from ..debug_picture import DebugPatch, ShownHead, planes_of, render
from ..module import SegmentationModule

logger = logging.getLogger(__name__)

_MOST_FAILURES = 3


class DebugPictures(pl.Callback):
    """Draws one patch of the validation, the same in every epoch, with the predictions of the validation.

    The newest picture is ``plots/<model>_debug.png``, of volumes ``plots/<model>_debug.gif``; each is kept
    under the number of its epoch too. The patch is the one with the most to see: most outputs known, and both
    foreground and background. Drawing takes no more than its share of the time: where validations follow each
    other so fast that it would, some are passed over; the last one is always drawn. Without a validation a
    patch of the training is drawn after each epoch. A failure is reported,
    and drawing given up after the third: it never ends a training.

    Parameters
    ----------
    run
        Where to.
    model_name
        What the files are called after.
    keep
        How many pictures with a number are kept.
    heads
        The outputs of the network.
    spacing
        Size of a voxel in array order.
    emit
        Told of each picture.
    share
        Largest share of the time that drawing may take.

    Attributes
    ----------
    followers
        Called with the event of each picture, before it is emitted; a failure is one of the drawing.
    """

    def __init__(
        self,
        run: RunFolder,
        model_name: str,
        keep: int,
        heads: Sequence[Head],
        spacing: Sequence[float],
        emit: Emit,
        *,
        share: float = 0.02,
    ) -> None:
        self.run = run
        self.model_name = model_name
        self.keep = keep
        self.heads = tuple(heads)
        self.spacing = tuple(spacing)
        self.emit = emit
        self.share = share
        self.followers: list[Callable[[DebugPicture], None]] = []
        self._place: tuple[int, int] | None = None
        self._most = -1.0
        self._found: tuple[int, int] | None = None
        self._patch: DebugPatch | None = None
        self._waiting: tuple[DebugPatch, int, str] | None = None
        self._sample: dict[str, Tensor] = {}
        self._next = 0.0
        self._failures = 0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Begin to look for the patch."""
        self._patch, self._found, self._most = None, None, -1.0

    def on_validation_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: SegmentationModule,
        outputs: Any,
        batch: Mapping[str, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the patch when it is in this batch; in the first validation, the best one so far."""
        if not trainer.is_global_zero or outputs is None or self._failures >= _MOST_FAILURES:
            return
        if self._place is not None:
            if batch_idx == self._place[0] and self._place[1] < len(batch["image"]):
                self._patch = _cut_out(self.heads, batch, outputs, self._place[1])
            return
        worth = _worth(self.heads, batch)
        sample = int(worth.argmax())
        if float(worth[sample]) > self._most:
            self._most, self._found = float(worth[sample]), (batch_idx, sample)
            self._patch = _cut_out(self.heads, batch, outputs, sample)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Stay with the patch that was found."""
        self._place = self._place or self._found
        if self._patch is not None:
            self._waiting = self._patch, pl_module.epochs_done + 1, "validation"
            self._patch = None

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: SegmentationModule,
        outputs: Any,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Keep a patch of the epoch's first batch where there is no validation."""
        if batch_idx == 0 and batch and not trainer.enable_validation and trainer.is_global_zero:
            best = int(_worth(self.heads, batch).argmax())
            self._sample = {name: values[best : best + 1] for name, values in batch.items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Draw it when it is due."""
        if time.monotonic() >= self._next:
            self._draw(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Draw the last one."""
        self._draw(pl_module)

    def _draw(self, module: SegmentationModule) -> None:
        if self._failures >= _MOST_FAILURES or not (self._waiting or self._sample):
            return
        start = time.monotonic()
        try:
            patch, epoch, part = self._waiting or self._predicted(module)
            self._waiting = None
            data = render(patch, f"{self.model_name}   epoch {epoch}   a {part} patch", self.spacing)
            path = self._write(data, epoch, "gif" if patch.planes else "png")
            event = DebugPicture(path=str(path), epoch=epoch)
            for follow in self.followers:
                follow(event)
        except Exception as error:
            if lost_device(error):
                raise
            self._failures += 1
            logger.exception("the debug picture could not be drawn")
            if self._failures == 1:
                self.emit(Warned(message=f"the debug picture failed; training goes on ({error})"))
            return
        end = time.monotonic()
        self._next = end + (end - start) * (1.0 / self.share - 1.0)
        self.emit(event)

    def _predicted(self, module: SegmentationModule) -> tuple[DebugPatch, int, str]:
        """Let the network predict a training patch as it would predict anything else."""
        sample, self._sample = self._sample, {}
        module.enter_evaluation()
        module.network.eval()
        try:
            outputs = module.predict(sample["image"])
        finally:
            module.network.train()
            module.leave_evaluation()
        return _cut_out(self.heads, sample, outputs, 0), module.epochs_done, "training"

    def _write(self, data: bytes, epoch: int, suffix: str) -> Path:
        folder = self.run.plots
        folder.mkdir(exist_ok=True)
        newest = folder / f"{self.model_name}_debug.{suffix}"
        write_bytes(newest, data)
        give_another_name(newest, folder / f"{self.model_name}_debug_{epoch}.{suffix}")
        for old in numbered_pictures(folder, self.model_name)[self.keep :]:
            old.unlink(missing_ok=True)
        return newest


def numbered_pictures(folder: Path, model_name: str) -> list[Path]:
    """Return the debug pictures of single epochs, the newest first."""
    pattern = re.compile(rf"{re.escape(model_name)}_debug_(\d+)\.(?:png|gif)")
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _worth(heads: Sequence[Head], batch: Mapping[str, Tensor]) -> Tensor:
    """Return how much there is to see in each patch ``(B,)``: outputs known, foreground beside background."""
    worth = torch.zeros(len(batch["image"]))
    for head in heads:
        known = batch[f"{head.name}_mask"].flatten(1)
        share = known.float().mean(1)
        worth += share + (share > 0)
        if head.kind == "segmentation":
            there = (batch[head.name].flatten(1) > 0.5) & known
            foreground = there.float().mean(1)
            worth += 4.0 * foreground * (1.0 - foreground)
    return worth


def _cut_out(
    heads: Sequence[Head], batch: Mapping[str, Tensor], outputs: Mapping[str, Any], sample: int
) -> DebugPatch:
    """Return one patch with its predictions in memory; of a volume the planes that are shown."""
    image = batch["image"][sample]
    volume = image.ndim == 4
    planes = planes_of(image.shape[1]) if volume else []

    def taken(values: Tensor) -> Any:
        values = values[:, planes] if volume else values
        return np.array(values.float().cpu().numpy())

    shown = []
    for head in heads:
        raw = outputs[head.name]
        raw = raw[0] if isinstance(raw, list) else raw
        shown.append(
            ShownHead(
                head,
                taken(batch[head.name][sample]),
                taken(batch[f"{head.name}_mask"][sample])[0] > 0,
                taken(activated(head, raw[sample : sample + 1].detach())[0]),
            )
        )
    return DebugPatch(taken(image), tuple(shown), tuple(planes), image.shape[1] if volume else 1)
