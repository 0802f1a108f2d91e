"""Ends a training whose loss is no longer a number, before it can spoil a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from napari_segtrain.network.hardware import Number

from ..errors import NonFiniteLossError
from ..module import SegmentationModule

_LOOK_EVERY = 0.25
_FP16_PATIENCE = 20


def is_too_many(bad: int, precision: Number) -> bool:
    """Return whether so many losses in a row that are no number end a training; see `NanGuard`."""
    return bad > (_FP16_PATIENCE if precision == "fp16" else 0)


class NanGuard(pl.Callback):
    """Looks at the loss: after every batch on a processor, four times a second on a GPU.

    A look at a GPU's number waits for the GPU, and four times a second costs nothing. At the end of an
    epoch its mean losses are looked at, before a checkpoint is written; a NaN in any batch is in them.
    With fp16 single steps may overflow; the scaler skips them, so that only many in a row count.
    """

    def __init__(self) -> None:
        self._looked = -math.inf
        self._bad = 0

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: SegmentationModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raise `NonFiniteLossError` when the latest loss is NaN or infinite."""
        loss = pl_module.last_loss
        if not batch or loss is None:
            return
        if loss.device.type != "cpu":
            now = time.monotonic()
            if now - self._looked < _LOOK_EVERY:
                return
            self._looked = now
        if math.isfinite(float(loss)):
            self._bad = 0
            return
        self._bad += 1
        if is_too_many(self._bad, pl_module.precision):
            parts = {name: float(value) for name, value in pl_module.last_parts.items()}
            raise NonFiniteLossError(_message(pl_module, float(loss), parts, f"batch {batch_idx + 1}"))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Raise `NonFiniteLossError` when a mean loss of the epoch is NaN or infinite."""
        row = pl_module.finish_epoch()
        for part, where in (("train", "training"), ("val", "validation")):
            value = row.get(f"{part}_loss")
            if value is None or math.isfinite(value):
                continue
            if part == "train" and pl_module.precision == "fp16" and self._weights_are_finite(pl_module):
                continue
            heads = {head.name: row.get(f"{part}_{head.name}_loss") for head in pl_module.heads}
            parts = {name: float(v) for name, v in heads.items() if v is not None}
            raise NonFiniteLossError(_message(pl_module, float(value), parts, where, done=True))

    @staticmethod
    def _weights_are_finite(module: SegmentationModule) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in module.network.parameters())


def _message(
    module: SegmentationModule, value: float, parts: Mapping[str, float], where: str, *, done: bool = False
) -> str:
    epoch = module.epochs_done + (0 if done else 1)
    bad = [name for name, part in parts.items() if not math.isfinite(part) and "/" not in name]
    of = f" of {', '.join(bad)}" if bad else ""
    advice = [
        f"a lower learning rate (tr_config.optimizer.lr, now {module.optimization.learning_rate:.3g})",
        f"stronger gradient clipping (tr_config.gradient_clip, now {module.gradient_clip:g})",
    ]
    if module.precision != "fp32":
        advice.append(f"full precision (tr_setup.precision fp32, now {module.precision})")
    return (
        f"the loss{of} became {value} in epoch {epoch}, {where}; training stopped, and the last good "
        f"checkpoint is kept. Try {', or '.join(advice)}; and look for extreme values in the image or a "
        "regression target"
    )
